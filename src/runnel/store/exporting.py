"""What an export reads of sessions, in pages with a bound; each page is one short transaction."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, cast

from sqlalchemy import Row, Select, and_, exists, func, literal, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from runnel.chat.entities import Role, SessionRef
from runnel.chat.sessions.export_pages import Fork, Messages, Place, Stretch, Whole
from runnel.chat.sessions.records import (
    AttachmentRecord,
    MessageRecord,
    ReactionsRecord,
    SessionRecord,
)
from runnel.events import Position
from runnel.store import export_records, tree
from runnel.store.engine import Database
from runnel.store.shown import LIVE_STATES, checkpointed
from runnel.store.tables import (
    AttachmentRow,
    GenerationRow,
    MessageAttachmentRow,
    MessageRow,
    SessionRow,
    UtcDateTime,
)

#: A page of messages ends once their texts have so many characters, or with its first message.
PAGE_CHARACTERS: Final = 1024 * 1024
_SESSIONS_A_PAGE: Final = 100
_STRETCHES_A_PAGE: Final = 100
_ATTACHMENTS_A_PAGE: Final = 100
_WORDS: Final = 60


class SqlExports:
    """Implements chat.sessions.export_pages.ExportStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def session(self, user_id: str, ref: SessionRef) -> Whole | None:
        which = SessionRow.id == ref.id if ref.id else SessionRow.name == ref.name
        async with self._database.read() as connection:
            row = (await connection.execute(_sessions(user_id).where(which))).first()
        return None if row is None else export_records.whole(row)

    async def sessions(self, user_id: str, after: SessionRecord | None) -> Sequence[Whole]:
        query = _sessions(user_id).order_by(SessionRow.started_at, SessionRow.id)
        if after is not None:
            place = tuple_(literal(after.started_at, UtcDateTime), after.session_id)
            query = query.where(tuple_(SessionRow.started_at, SessionRow.id) > place)
        async with self._database.read() as connection:
            return [
                export_records.whole(row)
                for row in await connection.execute(query.limit(_SESSIONS_A_PAGE))
            ]

    async def attachments(self, session_id: str, after: str | None) -> Sequence[AttachmentRecord]:
        query = (
            select(AttachmentRow)
            .where(AttachmentRow.session_id == session_id)
            .order_by(AttachmentRow.id)
            .limit(_ATTACHMENTS_A_PAGE)
        )
        if after is not None:
            query = query.where(AttachmentRow.id > after)
        async with self._database.read() as connection:
            return [export_records.attachment(row) for row in await connection.execute(query)]

    async def messages(self, whole: Whole, after: Place | None, most: int) -> Messages:
        return await self._page(_of(whole), after, most)

    async def branch(self, whole: Whole, after: Place | None, most: int) -> Messages:
        leaf_id = whole.session.active_message_id
        if leaf_id is None:
            return Messages((), None)
        stems = tree.stems(leaf_id)
        first = after.depth + 1 if after else 0
        on_branch = (
            select(MessageRow.id)
            .join(
                stems, and_(MessageRow.stem_id == stems.c.stem_id, MessageRow.depth <= stems.c.upto)
            )
            # A branch has one message a depth: without this each page would sort all of it.
            .where(MessageRow.depth.between(first, first + most), stems.c.upto >= first)
        )
        return await self._page(on_branch, after, most)

    async def stretches(self, whole: Whole, after: Place | None) -> Sequence[Stretch]:
        query = _stretches(whole)
        if after is not None:
            query = query.where(tuple_(_HEAD.depth, _HEAD.id) > tuple_(after.depth, after.id))
        async with self._database.read() as connection:
            return [_stretch(row) for row in await connection.execute(query)]

    async def stretch(
        self, whole: Whole, stretch: Stretch, after: Place | None, most: int
    ) -> Messages:
        of_stretch = _of(whole).where(
            MessageRow.stem_id == stretch.stem_id, MessageRow.depth >= stretch.first_depth
        )
        return await self._page(of_stretch, after, most)

    async def _page(
        self, which: Select[*tuple[Any, ...]], after: Place | None, most: int
    ) -> Messages:
        query = (
            which.with_only_columns(
                MessageRow.id, MessageRow.depth, func.length(MessageRow.content).label("characters")
            )
            .order_by(MessageRow.depth, MessageRow.id)
            .limit(most + 1)
        )
        if after is not None:
            query = query.where(
                tuple_(MessageRow.depth, MessageRow.id) > tuple_(after.depth, after.id)
            )
        async with self._database.read() as connection:
            found = (await connection.execute(query)).all()
            here = found[: _fitting([row.characters for row in found[:most]])]
            messages, files = await _messages(connection, [row.id for row in here])
        following = Place(here[-1].depth, here[-1].id) if len(here) < len(found) else None
        return Messages(messages, following, files)


_HEAD: Final = aliased(MessageRow, name="first")


def _sessions(user_id: str) -> Select[*tuple[Any, ...]]:
    """What is shown to its user, each with what it holds now."""
    of_session = MessageRow.session_id == SessionRow.id
    held = select(func.count()).where(of_session).correlate(SessionRow).scalar_subquery()
    last = select(func.max(MessageRow.id)).where(of_session).correlate(SessionRow).scalar_subquery()
    return select(SessionRow, held.label("held"), last.label("last")).where(
        SessionRow.user_id == user_id, SessionRow.hidden.is_(False)
    )


def _of(whole: Whole) -> Select[*tuple[Any, ...]]:
    return select(MessageRow.id).where(
        MessageRow.session_id == whole.session.session_id, MessageRow.id <= whole.last_message_id
    )


def _stretches(whole: Whole) -> Select[*tuple[Any, ...]]:
    """Stems that are not of the active branch, and the ends of those that are in part."""
    stems = tree.stems(whole.session.active_message_id or "")
    parent = aliased(MessageRow, name="parent")
    left = aliased(MessageRow, name="left_at")
    beyond = aliased(MessageRow, name="beyond")
    goes_on = exists().where(
        beyond.stem_id == _HEAD.id,
        beyond.depth == stems.c.upto + 1,
        beyond.id <= whole.last_message_id,
    )
    return (
        select(
            _HEAD.id,
            _HEAD.depth,
            func.coalesce(stems.c.upto + 1, _HEAD.depth).label("first"),
            func.coalesce(left.role, parent.role).label("role"),
            func.coalesce(left.created_at, parent.created_at, type_=UtcDateTime).label("at"),
            func.substr(func.coalesce(left.content, parent.content), 1, _WORDS).label("words"),
        )
        .outerjoin(stems, stems.c.stem_id == _HEAD.id)
        .outerjoin(left, and_(left.stem_id == _HEAD.id, left.depth == stems.c.upto))
        .outerjoin(parent, parent.id == _HEAD.parent_id)
        .where(
            _HEAD.session_id == whole.session.session_id,
            _HEAD.stem_id == _HEAD.id,
            _HEAD.id <= whole.last_message_id,
            or_(stems.c.upto.is_(None), goes_on),
        )
        .order_by(_HEAD.depth, _HEAD.id)
        .limit(_STRETCHES_A_PAGE)
    )


def _stretch(row: Row[*tuple[Any, ...]]) -> Stretch:
    fork = None if row.role is None else Fork(row.role, row.at, row.words)
    return Stretch(row.id, row.first, fork, Place(row.depth, row.id))


def _fitting(lengths: Iterable[int]) -> int:
    """How many of the first make a page."""
    total = number = 0
    for number, length in enumerate(lengths, 1):
        total += length
        if number > 1 and total > PAGE_CHARACTERS:
            return number - 1
    return number


async def _messages(
    connection: AsyncConnection, ids: Collection[str]
) -> tuple[list[MessageRecord], dict[str, AttachmentRecord]]:
    rows = await connection.execute(
        select(MessageRow).where(MessageRow.id.in_(ids)).order_by(MessageRow.depth, MessageRow.id)
    )
    made = await connection.execute(select(GenerationRow).where(GenerationRow.message_id.in_(ids)))
    generations = {row.message_id: row for row in made}
    attached: dict[str, list[AttachmentRecord]] = {}
    for row in await connection.execute(_attached(ids)):
        attached.setdefault(row.message_id, []).append(export_records.attachment(row))
    messages = [
        await _message(connection, row, generations.get(row.id), attached.get(row.id, ()))
        for row in rows
    ]
    files = {file.attachment_id: file for files in attached.values() for file in files}
    return messages, files


def _attached(message_ids: Collection[str]) -> Select[*tuple[Any, ...]]:
    return (
        select(AttachmentRow, MessageAttachmentRow.message_id)
        .join(MessageAttachmentRow, MessageAttachmentRow.attachment_id == AttachmentRow.id)
        .where(MessageAttachmentRow.message_id.in_(message_ids))
        .order_by(MessageAttachmentRow.message_id, MessageAttachmentRow.ordinal)
    )


async def _message(
    connection: AsyncConnection,
    row: Row[*tuple[Any, ...]],
    made: Row[*tuple[Any, ...]] | None,
    files: Iterable[AttachmentRecord],
) -> MessageRecord:
    content, position = row.content, None
    if made is not None and made.status in LIVE_STATES:
        content, position = await checkpointed(connection, made.id, made.epoch)
    elif made is not None:
        position = Position(made.epoch, made.last_offset)
    return MessageRecord(
        message_id=row.id,
        session_id=row.session_id,
        parent_id=row.parent_id,
        role=cast("Role", row.role),
        content=content,
        timestamp=row.created_at,
        reactions=ReactionsRecord(row.helpful, row.rating),
        attachments=tuple(file.attachment_id for file in files),
        generation=None if made is None else export_records.generation(made, position),
    )
