"""The folder of one run on the disk: its manifest, and interactions.jsonl, which turns over."""

import os
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Final

MANIFEST: Final = "manifest.json"
INTERACTIONS: Final = "interactions.jsonl"


class RunFolder:
    """Appends lines. Whatever the disk refuses is raised as OSError, and can be tried again.

    Of the interactions `files` files are kept, none larger than `max_bytes` but for a line that
    is: the one that is written, and behind it interactions.1.jsonl, the newest of the full ones.
    """

    def __init__(self, path: Path, manifest: bytes, *, max_bytes: int, files: int) -> None:
        self.path = path
        self._manifest = manifest
        self._max_bytes = max_bytes
        self._files = files
        self._file: FileIO | None = None
        self._size = 0

    def open(self) -> None:
        """Makes what is not there: the folder, the manifest, the file to write to."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.path / MANIFEST).exists():
            half = self.path / f"{MANIFEST}.new"
            half.write_bytes(self._manifest)
            half.replace(self.path / MANIFEST)
        self._open_file()

    def append(self, line: bytes) -> None:
        if self._file is not None and not self._is_there(self._file):
            self.close()
        if self._file is None:
            self.open()
        if self._size and self._size + len(line) > self._max_bytes:
            self._turn_over()
        assert self._file is not None
        self._write(self._file, line)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open_file(self) -> None:
        def private(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        self._file = FileIO(self.path / INTERACTIONS, "a", opener=private)
        self._size = os.fstat(self._file.fileno()).st_size

    def _is_there(self, file: FileIO) -> bool:
        """Whether the path still leads to the file: what is written to a removed one is lost."""
        try:
            now = (self.path / INTERACTIONS).stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(now, os.fstat(file.fileno()))

    def _turn_over(self) -> None:
        self.close()
        for number in range(self._files - 1, 0, -1):
            newer = self._name(number - 1)
            if newer.exists():
                newer.replace(self._name(number))
        if self._files == 1:
            self._name(0).unlink(missing_ok=True)
        self._open_file()

    def _name(self, number: int) -> Path:
        return self.path / (f"interactions.{number}.jsonl" if number else INTERACTIONS)

    def _write(self, file: FileIO, line: bytes) -> None:
        written = 0
        try:
            while written < len(line):
                written += file.write(line[written:])
        except OSError:
            # Half a line would spoil the next one.
            with suppress(OSError):
                file.truncate(self._size)
            raise
        self._size += len(line)
