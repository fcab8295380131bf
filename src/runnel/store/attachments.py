"""Queries of attachments: whose they are, which session and which messages have them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, bindparam, delete, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Attachment
from runnel.errors import Code, RunnelError
from runnel.store import users
from runnel.store.engine import Database
from runnel.store.tables import AttachmentRow, MessageAttachmentRow

_COLUMNS: Final = (
    AttachmentRow.id,
    AttachmentRow.name,
    AttachmentRow.media_type,
    AttachmentRow.bytes,
    AttachmentRow.width,
    AttachmentRow.height,
    AttachmentRow.characters,
    AttachmentRow.created_at,
    AttachmentRow.session_id,
)
#: What each file takes besides its bytes: its block on the disk, its row and their indexes.
_OVERHEAD_BYTES: Final = 4096
#: Databases have a bound on what one query names.
_MESSAGES_A_QUERY: Final = 500


class SqlAttachments:
    """Implements chat.attachments.ports.AttachmentStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user_id: str, attachment: Attachment, most_bytes: int) -> None:
        async with self._database.write() as connection:
            await _add(connection, user_id, attachment, most_bytes)

    async def refuse_leaving(self, user_id: str) -> None:
        async with self._database.write() as connection:
            await users.admit(connection, user_id)

    async def find(self, user_id: str, attachment_id: str) -> Attachment | None:
        async with self._database.read() as connection:
            found = await _own(connection, user_id, [attachment_id])
            return found.get(attachment_id)

    async def delete(self, attachment_ids: Collection[str]) -> None:
        async with self._database.write() as connection:
            await forget(connection, attachment_ids)

    async def unused(self, before: datetime, most: int) -> Sequence[str]:
        async with self._database.read() as connection:
            rows = await connection.scalars(
                select(AttachmentRow.id)
                .where(AttachmentRow.session_id.is_(None), AttachmentRow.created_at < before)
                .order_by(AttachmentRow.created_at)
                .limit(most)
            )
            return rows.all()


async def _add(
    connection: AsyncConnection, user_id: str, attachment: Attachment, most_bytes: int
) -> None:
    """Inserts a row. Raises RunnelError `payload_too_large` where the user has too much then."""
    # Of files that come at once each counts the ones before: they stand in line for their user.
    await users.admit(connection, user_id, alone=True)
    weight = AttachmentRow.bytes + func.coalesce(AttachmentRow.characters, 0) + _OVERHEAD_BYTES
    held = await connection.scalar(
        select(func.coalesce(func.sum(weight), 0)).where(AttachmentRow.user_id == user_id)
    )
    own = attachment.bytes + (attachment.characters or 0) + _OVERHEAD_BYTES
    if (held or 0) + own > most_bytes:
        raise RunnelError(
            Code.PAYLOAD_TOO_LARGE,
            f"With this file your attachments would take more than {most_bytes} bytes:"
            " delete some of them, or sessions that have some.",
            field="file",
        )
    await connection.execute(
        insert(AttachmentRow).values(
            id=attachment.id,
            user_id=user_id,
            session_id=None,
            name=attachment.name,
            media_type=attachment.media_type,
            bytes=attachment.bytes,
            width=attachment.width,
            height=attachment.height,
            characters=attachment.characters,
            created_at=attachment.created_at,
        )
    )


async def asked_with(
    connection: AsyncConnection, user_id: str, session_id: str | None, ids: Sequence[str]
) -> list[Attachment]:
    """The attachments that a question names, in its order; `session_id` is where it is asked.

    Raises RunnelError `not_found`, or `conflict` for what another session has.
    """
    if not ids:
        return []
    found = await _own(connection, user_id, ids)
    if len(found) < len(ids):
        raise RunnelError(Code.NOT_FOUND, "There is no such attachment.", field="attachments")
    if any(each.session_id not in (None, session_id) for each in found.values()):
        raise _used_elsewhere()
    return [found[attachment_id] for attachment_id in ids]


async def use(
    connection: AsyncConnection, session_id: str, message_id: str, ids: Sequence[str]
) -> None:
    """Gives attachments to a message, and with it to its session. Raises RunnelError `conflict`."""
    if not ids:
        return
    free = or_(AttachmentRow.session_id.is_(None), AttachmentRow.session_id == session_id)
    bound = await connection.scalars(
        update(AttachmentRow)
        .where(AttachmentRow.id.in_(ids), free)
        .values(session_id=session_id)
        .returning(AttachmentRow.id)
    )
    if len(bound.all()) < len(ids):
        raise _used_elsewhere()
    await connection.execute(
        insert(MessageAttachmentRow),
        [
            {"message_id": message_id, "attachment_id": attachment_id, "ordinal": ordinal}
            for ordinal, attachment_id in enumerate(ids)
        ],
    )


# Put together once: that takes longer than to run it.
_OF_MESSAGES: Final = (
    select(*_COLUMNS, MessageAttachmentRow.message_id)
    .join(MessageAttachmentRow, MessageAttachmentRow.attachment_id == AttachmentRow.id)
    .where(MessageAttachmentRow.message_id.in_(bindparam("message_ids", expanding=True)))
    .order_by(MessageAttachmentRow.message_id, MessageAttachmentRow.ordinal)
)


async def of_messages(
    connection: AsyncConnection, message_ids: Sequence[str]
) -> dict[str, list[Attachment]]:
    """What messages have, by their ids, in its order; those that have none are left out."""
    found: dict[str, list[Attachment]] = {}
    for begin in range(0, len(message_ids), _MESSAGES_A_QUERY):
        some = message_ids[begin : begin + _MESSAGES_A_QUERY]
        for row in await connection.execute(_OF_MESSAGES, {"message_ids": [*some]}):
            found.setdefault(row.message_id, []).append(_attachment(row))
    return found


async def ids_of_sessions(connection: AsyncConnection, session_ids: Collection[str]) -> list[str]:
    """The attachments of sessions; whoever deletes these deletes their files first."""
    rows = await connection.scalars(
        select(AttachmentRow.id).where(AttachmentRow.session_id.in_(session_ids))
    )
    return [*rows]


async def ids_of_user(connection: AsyncConnection, user_id: str) -> list[str]:
    """All that a user has, used or not; the same holds."""
    rows = await connection.scalars(
        select(AttachmentRow.id).where(AttachmentRow.user_id == user_id)
    )
    return [*rows]


async def forget(connection: AsyncConnection, ids: Collection[str]) -> None:
    """Deletes rows; messages lose what is deleted."""
    await connection.execute(delete(AttachmentRow).where(AttachmentRow.id.in_(ids)))


async def _own(
    connection: AsyncConnection, user_id: str, ids: Collection[str]
) -> dict[str, Attachment]:
    rows = await connection.execute(
        select(*_COLUMNS).where(AttachmentRow.id.in_(ids), AttachmentRow.user_id == user_id)
    )
    return {row.id: _attachment(row) for row in rows}


def _attachment(row: Row[*tuple[Any, ...]]) -> Attachment:
    return Attachment(
        id=row.id,
        name=row.name,
        media_type=row.media_type,
        bytes=row.bytes,
        width=row.width,
        height=row.height,
        characters=row.characters,
        created_at=row.created_at,
        session_id=row.session_id,
    )


def _used_elsewhere() -> RunnelError:
    return RunnelError(
        Code.CONFLICT,
        "An attachment belongs to another session; upload it again.",
        field="attachments",
    )
