"""`runnel` as a process of its own: in a pipe, on a terminal, and beside a provider's stand-in."""

import errno
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from typing_extensions import override

from processes import COMMAND, environment
from provider import Answer, Provider, Request
from provider_script import Voice, model_list

#: Runs a command with arguments in the test's own process.
Here = Callable[..., subprocess.CompletedProcess[str]]
#: The command as a shell finds it.
RUNNEL: Final = Path(sys.executable).with_name("runnel")


class ListingProvider(Provider):
    """A stand-in that can be told what it does when it is asked for its models."""

    def __init__(self) -> None:
        super().__init__()
        self.listing = Answer((), body=model_list(["test"]))

    @override
    def _voice(self, request: Request) -> Voice:
        if request.path == "/v1/models":
            return Voice(self.listing, {})
        return super()._voice(request)

    @property
    def listings(self) -> Sequence[Request]:
        """The requests for the list of its models."""
        return [request for request in self.requests if request.path == "/v1/models"]


def write_models(folder: Path, *, default: str | None = None, **aliases: dict[str, Any]) -> None:
    """models.json; `a__b` stands for the alias `a/b`."""
    named = {name.replace("__", "/"): alias for name, alias in aliases.items()}
    file = {"aliases": named} | ({} if default is None else {"default": default})
    (folder / "models.json").write_text(json.dumps(file))


def alias_of(provider: Provider, model: str = "test", **more: Any) -> dict[str, Any]:
    return {"provider": "openai", "model": model, "base_url": provider.url} | more


def said_by(
    folder: Path, *arguments: str, given: bytes = b"", **changes: str
) -> subprocess.CompletedProcess[bytes]:
    """A command whose output goes into pipes, run to its end; `given` is its standard input."""
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(folder, **{"UPSTREAM_RETRIES": "0"} | changes),
        cwd=folder,
        input=given,
        capture_output=True,
        timeout=50,
        check=False,
    )


@contextmanager
def begun(folder: Path, *arguments: str, **changes: str) -> Generator[subprocess.Popen[bytes]]:
    """A command that runs, its output in pipes; killed at the end if it still does."""
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(folder, **{"UPSTREAM_RETRIES": "0"} | changes),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


class Terminal:
    """What a command shows on a terminal of its own."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self._screen = screen
        self.shown = b""

    def until(self, word: bytes) -> None:
        """Reads on until a word was shown."""
        while word not in self.shown:
            assert self._read(), self.shown

    def to_the_end(self) -> str:
        while self._read():
            pass
        self.process.wait(20)
        return self.shown.decode()

    def _read(self) -> bytes:
        try:
            read = os.read(self._screen, 65_536)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            # How Linux says that nobody has the terminal open any more.
            return b""
        self.shown += read
        return read


@contextmanager
def on_terminal(folder: Path, *arguments: str, **changes: str) -> Generator[Terminal]:
    """A command whose output and faults go to one terminal, 100 columns wide."""
    screen, its_end = pty.openpty()
    size = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        env=environment(folder, **size | changes),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=its_end,
        stderr=its_end,
    ) as process:
        os.close(its_end)
        try:
            yield Terminal(process, screen)
        finally:
            process.kill()
            os.close(screen)
