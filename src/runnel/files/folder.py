"""Attachments' bytes in a folder, by their ids alone: no name of a user's is ever part of a path."""

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import structlog

from runnel.errors import Code, RunnelError

_log = structlog.stdlib.get_logger()
_T = TypeVar("_T")
_ID: Final = re.compile(r"[0-9a-f-]{36}")


class Folder:
    """Implements chat.attachments.ports.AttachmentFiles."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def write(self, attachment_id: str, file: BinaryIO, text: str | None) -> None:
        def write() -> None:
            path = self._path(attachment_id)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if text is not None:
                with _written(_text_of(path)) as kept:
                    kept.write(text.encode())
            file.seek(0)
            with _written(path) as kept:
                shutil.copyfileobj(file, kept)

        writing = asyncio.create_task(_off_the_loop(write))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            # No thread can be cancelled: what is deleted behind this must not come back.
            await asyncio.wait([writing])
            raise

    async def read(
        self, attachment_id: str, begin: int = 0, most_bytes: int | None = None
    ) -> bytes | None:
        def read() -> bytes | None:
            try:
                with self._path(attachment_id).open("rb") as kept:
                    kept.seek(begin)
                    return kept.read(most_bytes)
            except FileNotFoundError:
                return None

        return await _off_the_loop(read)

    async def read_text(self, attachment_id: str, most_characters: int) -> str | None:
        def read() -> str | None:
            path = self._path(attachment_id)
            for each in (_text_of(path), path):
                try:
                    with each.open(encoding="utf-8", errors="replace", newline="") as kept:
                        return kept.read(most_characters)
                except FileNotFoundError:
                    continue
            return None

        return await _off_the_loop(read)

    async def delete(self, attachment_ids: Collection[str]) -> None:
        def delete() -> None:
            for attachment_id in attachment_ids:
                path = self._path(attachment_id)
                for each in (path, _text_of(path)):
                    each.unlink(missing_ok=True)
                    _part_of(each).unlink(missing_ok=True)  # of a write that a crash broke off

        await _off_the_loop(delete)

    def _path(self, attachment_id: str) -> Path:
        if not _ID.fullmatch(attachment_id):
            raise ValueError(attachment_id)
        # The first digits of a UUIDv7 are the time: by the last ones folders stay small.
        return self._root / attachment_id[-2:] / attachment_id


def _text_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.text")


def _part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


class _written:  # noqa: N801 - reads as a statement
    """A file that is there once it is whole, for its owner alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = _part_of(path)

    def __enter__(self) -> BinaryIO:
        descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        return self._file

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            self._file.close()
            if error is None:
                self._part.replace(self._path)
        finally:
            self._part.unlink(missing_ok=True)


async def _off_the_loop(work: Callable[[], _T]) -> _T:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        _log.warning("attachments.disk_failed", why=str(error))
        raise RunnelError(
            Code.STORE_UNAVAILABLE, "The attachment cannot be kept or read just now."
        ) from error
