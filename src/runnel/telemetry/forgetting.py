"""Takes questions and answers out of the lines of all runs, for what is purged.

They are overwritten with blanks where they stand, and the lines keep their lengths: nothing is
written anew, so that a full disk is no hindrance and whoever writes further lines is not disturbed.
"""

import asyncio
import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from runnel.telemetry.run_folder import INTERACTIONS, MANIFEST
from runnel.telemetry.runs import RunLog

#: As runs.py writes them: `question` and `answer` stand at the end of a line.
_WHOSE: Final = re.compile(rb'"session_id":"([^"]*)","user_id":"([^"]*)"')
_TEXTS: Final = b',"question":'
_BUFFER_BYTES: Final = 256 * 1024
#: How long lines that wait to be written are waited for.
_WRITTEN_SECONDS: Final = 10.0


class RunTexts:
    """Implements chat.sessions.purging.Texts, for all that is below RUNS_DIR."""

    def __init__(self, runs_dir: Path, runs: RunLog) -> None:
        self._runs_dir = runs_dir
        self._runs = runs
        self._without: set[Path] = set()  # folders of runs that have never held texts
        self._scanning = asyncio.Lock()

    async def forget(self, ids: Collection[str]) -> None:
        written = asyncio.wrap_future(self._runs.forget(ids))
        await asyncio.wait_for(written, _WRITTEN_SECONDS)
        wanted = frozenset(each.encode() for each in ids)
        async with self._scanning:
            await asyncio.to_thread(self._blank_all, wanted)

    def _blank_all(self, ids: frozenset[bytes]) -> None:
        """Goes on behind a file that cannot be changed, and raises what was wrong with the last."""
        fault: OSError | None = None
        for folder in sorted(self._runs_dir.iterdir()) if self._runs_dir.is_dir() else ():
            if folder in self._without:
                continue
            if not _may_hold_texts(folder):
                self._without.add(folder)
                continue
            try:
                _blank_folder(folder, ids)
            except OSError as error:
                fault = error
        if fault is not None:
            raise fault


def _may_hold_texts(folder: Path) -> bool:
    try:
        said = orjson.loads((folder / MANIFEST).read_bytes())
        return said["settings"]["log_messages"] is not False
    except (OSError, ValueError, LookupError, TypeError):
        return True


def _blank_folder(folder: Path, ids: frozenset[bytes]) -> None:
    """All its files, each once, however they turn over meanwhile."""
    name = INTERACTIONS.partition(".")[0]
    done: set[int] = set()
    while True:
        found = [path for path in folder.glob(f"{name}*") if _inode(path) not in {None, *done}]
        if not found:
            return
        for path in found:
            try:
                with path.open("r+b", buffering=_BUFFER_BYTES) as file:
                    done.add(os.fstat(file.fileno()).st_ino)
                    _blank_file(file, ids)
            except FileNotFoundError:
                continue  # it was the oldest, and has turned over


def _inode(path: Path) -> int | None:
    """Of a file that holds lines; None of what is none, or is there no more."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_ino if stat.S_ISREG(found.st_mode) else None


def _blank_file(file: BinaryIO, ids: frozenset[bytes]) -> None:
    begin = 0
    changed = False
    for line in file:
        whose = _WHOSE.search(line, 0, _BUFFER_BYTES)
        if whose is not None and not ids.isdisjoint(whose.groups()):
            changed |= _blank_line(file.fileno(), begin, line)
        begin += len(line)
    if changed:
        os.fsync(file.fileno())


def _blank_line(descriptor: int, begin: int, line: bytes) -> bool:
    """Whether there was something to blank. The mark of it goes last: half done is done again."""
    mark = line.find(_TEXTS)
    if mark < 0:
        return False
    end = len(line) - len(b"}\n") if line.endswith(b"}\n") else len(line)
    behind = mark + len(_TEXTS)
    _write(descriptor, begin + behind, end - behind)
    _write(descriptor, begin + mark, len(_TEXTS))
    return True


def _write(descriptor: int, at: int, blanks: int) -> None:
    while blanks > 0:
        written = os.pwrite(descriptor, b" " * min(blanks, _BUFFER_BYTES), at)
        at += written
        blanks -= written
