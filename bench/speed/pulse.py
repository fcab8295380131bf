"""The longest that a server let anybody wait while it told answers.

A program on the tools' core asks for `/healthz` a hundred times a second, while P runs.
"""

import json
import signal
import socket
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.speed.load import percentile
from bench.speed.processes import TOOLS_CORE, python, running
from bench.speed.requests import complete
from bench.speed.wire import microseconds

_EVERY_SECONDS: Final = 0.01
_REQUEST: Final = b"GET /healthz HTTP/1.1\r\nHost: runnel\r\n\r\n"


class Pulse:
    """In milliseconds, once it has ended."""

    p99 = 0.0
    longest = 0.0


@contextmanager
def pulse(port: int) -> Generator[Pulse]:
    """Measures as long as it is open."""
    measured = Pulse()
    with (
        TemporaryDirectory(prefix="runnel-bench-") as folder,
        running(python("bench.speed.pulse", str(port)), TOOLS_CORE, Path(folder)) as process,
    ):
        process.line()
        yield measured
        process.process.terminate()
        measured.p99, measured.longest = json.loads(process.line())


def main(port: int) -> None:
    ended: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: ended.append(number))
    took: list[int] = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sys.stdout.write("begun\n")
        sys.stdout.flush()
        while not ended:
            time.sleep(_EVERY_SECONDS)
            began = microseconds()
            sock.sendall(_REQUEST)
            response = b""
            while not complete(response):
                response += sock.recv(4096)
            took.append(microseconds() - began)
    sys.stdout.write(json.dumps([percentile(took, 0.99) / 1000, max(took) / 1000]) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]))
