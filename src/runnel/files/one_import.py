"""One import at a time into a data folder: two of the same session would undo each other's files."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from runnel.errors import Code, RunnelError


@contextmanager
def only_import(folder: Path) -> Generator[None]:
    """Inside, this is the one import. Raises RunnelError `conflict` where there is another."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(folder / "import.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunnelError(
            Code.CONFLICT, "Another import is running. Start this one when it has ended."
        ) from None
    try:
        yield
    finally:
        lock.release()
