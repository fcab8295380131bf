"""Three instances: PYTHONPATH=tests python bench/many.py."""  # noqa: INP001 - a program

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from instances import running
from provider import Answer, Provider

ABORTS = 200
ROUNDS = 3
GATED = Answer(("first", " last"), gate_after=1)


def say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def ask(client: httpx.Client, provider: Provider) -> str:
    """The id of an answer that stands at its gate, its first token said."""
    body = {"prompt": "?", "model": "chat/gated", "background": True}
    generation_id = client.post("/api/generate", json=body).json()["generation_id"]
    provider.at_gate.wait_at_least(1, 60)
    return generation_id


def aborts(folder: Path, provider: Provider) -> None:
    """Asked at one, aborted at another."""
    took: list[float] = []
    with running(folder, provider, count=3, LEASE_SECONDS="15") as three:
        asking, *others = [three.client(number) for number in range(3)]
        for number in range(ABORTS):
            generation_id = ask(asking, provider)
            aborting = others[number % 2]
            began = time.perf_counter()
            answer = aborting.post(f"/api/generations/{generation_id}/abort")
            took.append(time.perf_counter() - began)
            assert (answer.status_code, answer.json()["status"]) == (200, "aborted")
            provider.at_gate.wait_at_most(0, 60)
    took.sort()
    p50, p99 = (took[int(len(took) * share)] * 1000 for share in (0.5, 0.99))
    say(f"abort through another instance, {ABORTS}: p50 {p50:.0f} ms, p99 {p99:.0f} ms")


def until_the_next_token(client: httpx.Client, generation_id: str, end: Any) -> float:
    """Seconds from `end`, which ends its instance, to the first token that another says."""
    path = f"/api/generations/{generation_id}/events"
    with client.stream("GET", path, timeout=120) as response:
        lines = response.iter_lines()
        while '"first"' not in next(lines):
            pass
        began = time.perf_counter()
        end()
        while '"first"' not in next(lines):
            pass
        return time.perf_counter() - began


def takeovers(folder: Path, provider: Provider, lease_seconds: str, how: str) -> None:
    """One instance ends, and each time another one goes on."""
    took: list[float] = []
    settings = {"LEASE_SECONDS": lease_seconds, "SHUTDOWN_GRACE_SECONDS": "0"}
    with running(folder, provider, count=2, **settings) as two:
        clients = [two.client(number) for number in range(2)]
        for number in range(ROUNDS):
            maker, reader = number % 2, 1 - number % 2
            generation_id = ask(clients[maker], provider)
            end = two.kill if how == "kill -9" else two.terminate
            seconds = until_the_next_token(clients[reader], generation_id, partial(end, maker))
            took.append(seconds)
            clients[reader].post(f"/api/generations/{generation_id}/abort").raise_for_status()
            two.wait(maker)
            provider.at_gate.wait_at_most(0, 60)
            two.restart(maker)
            # A lease long it takes over nothing: it cannot know how long the database was away.
            time.sleep(float(lease_seconds))
    say(f"{how}, LEASE_SECONDS {lease_seconds}: {spread(took)}")


def spread(took: Sequence[float]) -> str:
    rounds = ", ".join(f"{each:.2f}" for each in took)
    return f"median {statistics.median(took):.2f} s of {rounds}"


def main() -> None:
    with Provider() as provider, tempfile.TemporaryDirectory() as place:
        provider.hold()
        provider.answer("gated", GATED)
        for name in ("aborts", "kill15", "kill1", "term"):
            (Path(place) / name).mkdir()
        aborts(Path(place) / "aborts", provider)
        takeovers(Path(place) / "term", provider, "15", "SIGTERM")
        takeovers(Path(place) / "kill1", provider, "1", "kill -9")
        takeovers(Path(place) / "kill15", provider, "15", "kill -9")


if __name__ == "__main__":
    main()
