"""What an import writes of sessions; nobody sees one before it is whole."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased
from sqlalchemy.orm.attributes import InstrumentedAttribute

from runnel.chat.sessions.records import (
    AttachmentRecord,
    GenerationRecord,
    MessageRecord,
    SessionRecord,
)
from runnel.errors import Code, RunnelError
from runnel.events import Position
from runnel.store import documents
from runnel.store.documents import Document
from runnel.store.engine import Database
from runnel.store.ids import new_id, now
from runnel.store.import_tree import tree_above
from runnel.store.tables import (
    AttachmentRow,
    GenerationRow,
    MessageAttachmentRow,
    MessageRow,
    SessionRow,
)


class SqlImports:
    """Implements chat.sessions.importing.ImportStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, user_id: str, session: SessionRecord) -> bool:
        try:
            async with self._database.write() as connection:
                return await _begin(connection, user_id, session)
        except IntegrityError:
            raise _conflict("it was made meanwhile, or its user has gone") from None

    async def add_attachment(
        self, user_id: str, session_id: str, attachment: AttachmentRecord
    ) -> None:
        try:
            async with self._database.write() as connection:
                await _refuse_known(connection, AttachmentRow.id, [attachment.attachment_id])
                await connection.execute(
                    insert(AttachmentRow).values(_attachment(user_id, session_id, attachment))
                )
        except IntegrityError:
            raise _changed() from None

    async def holds(self, session_id: str, attachment_id: str) -> bool:
        async with self._database.read() as connection:
            found = await connection.scalar(
                select(AttachmentRow.id).where(
                    AttachmentRow.id == attachment_id,
                    AttachmentRow.session_id == session_id,
                    _unfinished(session_id),
                )
            )
            return found is not None

    async def add_messages(self, user_id: str, messages: Sequence[MessageRecord]) -> None:
        found = [each for each in messages if each.role in documents.FOUND_ROLES]
        # Nobody waits for an import, and many at once pend as long as one long search takes.
        passages = await documents.cut({each.message_id: each.content for each in found})
        try:
            async with self._database.write() as connection:
                await _add_messages(connection, user_id, messages)
                await documents.add(
                    connection,
                    [
                        Document(user_id, messages[0].session_id, message_id, cut)
                        for message_id, cut in passages.items()
                    ],
                )
        except IntegrityError:
            raise _changed() from None

    async def finish(self, user_id: str, session: SessionRecord, messages: int) -> None:
        try:
            async with self._database.write() as connection:
                await _finish(connection, user_id, session, messages)
        except IntegrityError:
            raise _conflict(f"the name {session.name} was taken meanwhile") from None

    async def attachment_ids(self, session_id: str) -> Sequence[str]:
        async with self._database.read() as connection:
            rows = await connection.scalars(
                select(AttachmentRow.id).where(
                    AttachmentRow.session_id == session_id, _unfinished(session_id)
                )
            )
            return rows.all()

    async def remove(self, session_id: str, most: int) -> bool:
        async with self._database.write() as connection:
            deepest = (
                select(MessageRow.id)
                .where(MessageRow.session_id == session_id, _unfinished(session_id))
                .order_by(MessageRow.depth.desc(), MessageRow.id.desc())
                .limit(most)
            )
            ids = (await connection.scalars(deepest)).all()
            await connection.execute(delete(MessageRow).where(MessageRow.id.in_(ids)))
            if len(ids) == most:
                return False
            await connection.execute(
                delete(SessionRow).where(SessionRow.id == session_id, _unfinished(session_id))
            )
            return True


def _unfinished(session_id: str) -> Any:
    """Whether an import has begun it and not finished: Any, as SQLAlchemy's own type is not said."""
    unfinished = aliased(SessionRow, name="unfinished")
    return exists().where(
        unfinished.id == session_id,
        unfinished.hidden.is_(True),
        unfinished.leaf_id.is_(None),
        unfinished.purged_at.is_(None),
    )


async def _begin(connection: AsyncConnection, user_id: str, session: SessionRecord) -> bool:
    session_id = session.session_id
    found = (
        await connection.execute(
            select(SessionRow.user_id, _unfinished(session_id).label("unfinished")).where(
                SessionRow.id == session_id
            )
        )
    ).first()
    if found is not None and found.unfinished and found.user_id == user_id:
        return False
    if found is not None:
        raise _conflict("it exists already")
    if session.name is not None and await connection.scalar(
        select(SessionRow.id).where(SessionRow.user_id == user_id, SessionRow.name == session.name)
    ):
        raise _conflict(f"another session has its name, {session.name}")
    time = now()
    await connection.execute(
        insert(SessionRow).values(
            id=session_id, user_id=user_id, hidden=True, started_at=time, last_activity=time
        )
    )
    return True


async def _finish(
    connection: AsyncConnection, user_id: str, session: SessionRecord, messages: int
) -> None:
    session_id, leaf_id = session.session_id, session.active_message_id
    of_session = MessageRow.session_id == session_id
    there = await connection.scalar(select(func.count()).where(of_session))
    if there != messages:
        raise _changed()
    leaf = await connection.scalar(
        select(MessageRow.id).where(MessageRow.id == (leaf_id or ""), of_session)
    )
    if leaf is None and (leaf_id is not None or messages):
        raise RunnelError(
            Code.INVALID_REQUEST,
            f"session {session_id}: active_message_id: is none of its messages",
        )
    settings, metadata = session.settings, session.metadata
    shown = await connection.scalar(
        update(SessionRow)
        .where(SessionRow.id == session_id, SessionRow.user_id == user_id, _unfinished(session_id))
        .values(
            name=session.name,
            leaf_id=leaf_id,
            hidden=False,
            started_at=session.started_at,
            last_activity=session.last_activity,
            closed_at=session.closed_at,
            title=session.title,
            title_by=session.title_by,
            project_id=session.project_id,
            model_preference=settings.model_preference,
            language=settings.language,
            stream_responses=settings.stream_responses,
            system_prompt=settings.system_prompt,
            user_agent=metadata.user_agent,
            ip_address=metadata.ip_address,
            client_version=metadata.client_version,
            imported_at=now(),
        )
        .returning(SessionRow.id)
    )
    if shown is None:
        raise _changed()
    await documents.add(connection, [documents.titled(user_id, session_id, session.title)])


async def _add_messages(
    connection: AsyncConnection, user_id: str, messages: Sequence[MessageRecord]
) -> None:
    await _refuse_known(connection, MessageRow.id, [each.message_id for each in messages])
    made = [each for each in messages if each.generation is not None]
    generation_ids = [each.generation.generation_id for each in made if each.generation]
    await _refuse_known(connection, GenerationRow.id, generation_ids)
    tree = await tree_above(connection, messages)
    await connection.execute(insert(MessageRow), [tree.grown(each) for each in messages])
    generations = [_generation(user_id, each, each.generation) for each in made if each.generation]
    if generations:
        await connection.execute(insert(GenerationRow), generations)
    await _attach(connection, messages)


async def _attach(connection: AsyncConnection, messages: Sequence[MessageRecord]) -> None:
    named = {attachment_id for each in messages for attachment_id in each.attachments}
    if not named:
        return
    rows = await connection.scalars(
        select(AttachmentRow.id).where(
            AttachmentRow.id.in_(named), AttachmentRow.session_id == messages[0].session_id
        )
    )
    unknown = named - set(rows)
    if unknown:
        raise RunnelError(
            Code.INVALID_REQUEST,
            f"attachment {min(unknown)}: a message of session {messages[0].session_id} has it, but"
            " it is none of the session's",
        )
    await connection.execute(
        insert(MessageAttachmentRow),
        [
            {"message_id": each.message_id, "attachment_id": attachment_id, "ordinal": ordinal}
            for each in messages
            for ordinal, attachment_id in enumerate(each.attachments)
        ],
    )


def _attachment(user_id: str, session_id: str, attachment: AttachmentRecord) -> dict[str, Any]:
    return {
        "id": attachment.attachment_id,
        "user_id": user_id,
        "session_id": session_id,
        "name": attachment.name,
        "media_type": attachment.media_type,
        "bytes": attachment.bytes,
        "width": attachment.width,
        "height": attachment.height,
        "characters": attachment.characters,
        "created_at": attachment.created_at,
    }


def _generation(user_id: str, message: MessageRecord, made: GenerationRecord) -> dict[str, Any]:
    assert made.position is not None
    position = Position.parse(made.position)
    error, usage = made.error, made.usage
    return {
        "id": made.generation_id,
        "user_id": user_id,
        "session_id": message.session_id,
        "message_id": message.message_id,
        "user_message_id": made.user_message_id,
        "model": made.model,
        "provider": made.provider,
        "provider_model": made.provider_model,
        "params": made.params,
        "context": made.context and asdict(made.context),
        "agent": made.agent,
        "status": made.status,
        "owner": new_id(),
        "fence": 1,
        "epoch": position.epoch,
        "last_offset": position.offset,
        "finish_reason": made.finish_reason,
        "aborted_by": made.aborted_by,
        "error_code": error and error.code,
        "error_message": error and error.message,
        "error_retryable": error and error.retryable,
        "error_retry_after": error and error.retry_after,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "usage_source": usage.source,
        "cost": usage.cost,
        "created_at": made.created_at,
        "first_token_ms": made.first_token_ms,
        "latency_ms": made.latency_ms,
    }


async def _refuse_known(
    connection: AsyncConnection, column: InstrumentedAttribute[str], ids: Collection[str]
) -> None:
    """Raises RunnelError `conflict` for an id that is there already, or twice among them."""
    kind = column.class_.__tablename__.removesuffix("s")
    twice = [each for each, times in Counter(ids).items() if times > 1]
    if twice:
        raise _conflict(f"its {kind} {twice[0]} is there twice")
    known = await connection.scalar(select(func.min(column)).where(column.in_(ids)))
    if known is not None:
        raise _conflict(f"its {kind} {known} exists already")


def _conflict(message: str) -> RunnelError:
    return RunnelError(Code.CONFLICT, message)


def _changed() -> RunnelError:
    return _conflict("it was changed while it was imported; import it again")
