"""`python -m bench.speed`: runs the workloads, prints and writes what was measured."""

import argparse
import gc
import os
import sys
from statistics import median

from bench.speed import servers, streams
from bench.speed.processes import TOOLS_CORE

WORKLOADS = {"S": streams.fast, "P": streams.paced}


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.speed")
    parser.add_argument("--only", choices=WORKLOADS, action="append")
    parser.add_argument("--against", choices=servers.SERVERS, action="append")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {TOOLS_CORE})
    gc.freeze()
    names = ["runnel", *(arguments.against or ["passthrough", "tutorial"])]
    costs: dict[tuple[str, str], list[streams.Cost]] = {}
    with servers.provider() as provider:
        for _ in range(arguments.rounds):
            for workload in arguments.only or WORKLOADS:
                for name in dict.fromkeys(names):
                    with servers.SERVERS[name](provider) as server:
                        cost = WORKLOADS[workload](server)
                        costs.setdefault((workload, name), []).append(cost)
                        sys.stdout.write(f"{workload} {name:12} {cost}\n")
                        sys.stdout.flush()
    for (workload, name), of in costs.items():
        cpu = median(each.cpu for each in of)
        ours = median(each.cpu for each in costs[workload, "runnel"])
        sys.stdout.write(
            f"{workload} {name:12} {cpu:8.1f} us/token; runnel is {ours / cpu:.2f} x\n"
        )


if __name__ == "__main__":
    main()
