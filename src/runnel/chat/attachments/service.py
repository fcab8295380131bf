"""The use cases of attachments: a file is taken in, shown again, and forgotten."""

import asyncio
import io
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from runnel.chat.attachments.names import file_name
from runnel.chat.attachments.ports import AttachmentFiles, AttachmentStore, Examiner
from runnel.chat.entities import Attachment
from runnel.chat.ids import may_be_id
from runnel.errors import Code, RunnelError

_PIECE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class AttachmentRules:
    """How large a file may be, and all of one user's together."""

    max_bytes: int
    max_bytes_of_user: int


@dataclass(frozen=True, slots=True)
class Content:
    """A file with its bytes: the first of them, and the rest, piece by piece."""

    attachment: Attachment
    first: bytes
    rest: AsyncGenerator[bytes]


class Attachments:
    """A user's files, by their ids."""

    def __init__(
        self,
        store: AttachmentStore,
        files: AttachmentFiles,
        examiner: Examiner,
        rules: AttachmentRules,
        *,
        new_id: Callable[[], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._files = files
        self._examiner = examiner
        self._rules = rules
        self._new_id = new_id
        self._clock = clock

    async def add(self, user_id: str, given_name: str, file: BinaryIO) -> Attachment:
        """Takes a file in. Raises RunnelError: `invalid_request` for what is not taken,
        `payload_too_large`, `overloaded`, `store_unavailable`, and `unauthorized` or `conflict`
        where the account went away meanwhile.
        """
        size = file.seek(0, io.SEEK_END)
        if size > self._rules.max_bytes:
            raise RunnelError(
                Code.PAYLOAD_TOO_LARGE,
                f"The file has {size} bytes; {self._rules.max_bytes} are allowed.",
                field="file",
            )
        name = file_name(given_name)
        found = await self._examiner.examine(name, file)
        made = Attachment(
            id=self._new_id(),
            name=name,
            media_type=found.media_type,
            bytes=size,
            width=found.width,
            height=found.height,
            characters=found.characters,
            created_at=self._clock(),
        )
        # The row first: what a crash leaves then is found by its row, as never used.
        await self._store.add(user_id, made, self._rules.max_bytes_of_user)
        try:
            await self._keep(user_id, made, file, found.text)
        except BaseException:
            await asyncio.shield(self._forget([made.id]))
            raise
        return made

    async def _keep(self, user_id: str, made: Attachment, file: BinaryIO, text: str | None) -> None:
        await self._files.write(made.id, file, text)
        # Who deletes the account may have deleted the user's files before there was this one.
        await self._store.refuse_leaving(user_id)
        if await self._store.find(user_id, made.id) is None:
            raise RunnelError(Code.UNAUTHORIZED, "The account was deleted meanwhile.")

    async def find(self, user_id: str, attachment_id: str) -> Attachment:
        """A user's own. Raises RunnelError `not_found` for unknown and foreign alike."""
        found = None
        if may_be_id(attachment_id):
            found = await self._store.find(user_id, attachment_id)
        if found is None:
            raise _unknown()
        return found

    async def content(self, user_id: str, attachment_id: str) -> Content:
        """The same with its bytes, as they were given. Raises RunnelError `not_found`."""
        found = await self.find(user_id, attachment_id)
        first = await self._files.read(found.id, 0, _PIECE_BYTES)
        if first is None:
            raise _unknown()
        return Content(found, first, self._rest(found))

    async def _rest(self, attachment: Attachment) -> AsyncGenerator[bytes]:
        # Each piece on its own: who stops reading, or goes, keeps no file open.
        for begin in range(_PIECE_BYTES, attachment.bytes, _PIECE_BYTES):
            piece = await self._files.read(attachment.id, begin, _PIECE_BYTES)
            if piece is None:  # deleted meanwhile: whoever reads finds that it is too short
                return
            yield piece

    async def delete(self, user_id: str, attachment_id: str) -> None:
        """Forgets it; messages that had it have it no more. Raises RunnelError `not_found`."""
        found = await self.find(user_id, attachment_id)
        await self._forget([found.id])

    async def delete_unused(self, before: datetime, most: int) -> int:
        """Forgets those that no question has used and that were made before; how many it was."""
        ids = await self._store.unused(before, most)
        await self._forget(ids)
        return len(ids)

    async def _forget(self, ids: Sequence[str]) -> None:
        if not ids:
            return
        # Files before rows: a row without its file is found again, a file without its row is not.
        await self._files.delete(ids)
        await self._store.delete(ids)


def _unknown() -> RunnelError:
    return RunnelError(Code.NOT_FOUND, "There is no such attachment.")
