"""The files of attachments, brought back: each is what its record says that it is."""

import io
from collections.abc import Sequence

from runnel.chat.attachments.ports import AttachmentFiles, Examined, Examiner
from runnel.chat.sessions.records import AttachmentRecord
from runnel.errors import Code, RunnelError


class ImportedFiles:
    """Implements chat.sessions.importing.FileWriter over where attachments are kept."""

    def __init__(self, files: AttachmentFiles, examiner: Examiner) -> None:
        self._files = files
        self._examiner = examiner

    async def keep(self, attachment: AttachmentRecord, content: bytes) -> None:
        file = io.BytesIO(content)
        # Its text is no part of an export: it is found anew, and with it what the file is.
        found = await self._examiner.examine(attachment.name, file)
        if _facts(found) != _facts(attachment):
            raise RunnelError(
                Code.INVALID_REQUEST,
                f"attachment {attachment.attachment_id}: its data is {found.media_type}, and not"
                f" {attachment.media_type} of that size and length",
            )
        await self._files.write(attachment.attachment_id, file, found.text)

    async def delete(self, attachment_ids: Sequence[str]) -> None:
        await self._files.delete(attachment_ids)


def _facts(file: Examined | AttachmentRecord) -> tuple[object, ...]:
    # How long a PDF's text is, versions of the library that draws it may see differently.
    return file.media_type, file.width, file.height, file.characters is None
