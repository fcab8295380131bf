"""What channels read: how a session stands, and what its user has asked of late."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.channel import Recent
from runnel.chat.channels import RunningAnswer, SessionState
from runnel.chat.entities import SessionRef
from runnel.chat.notices import Asked
from runnel.chat.sessions.values import NOBODY_KNOWN, ClientInfo
from runnel.events import Position
from runnel.store import sessions
from runnel.store.engine import Database
from runnel.store.shown import IS_LIVE, LIVE_STATES, live_in_session
from runnel.store.statements import Statement
from runnel.store.tables import CheckpointRow, GenerationRow, MessageRow, SessionRow


class SqlChannels:
    """Implements chat.channels.ChannelStore."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_session(self, user_id: str, ref: SessionRef) -> SessionState | None:
        async with self._database.read_briefly() as connection:
            found = await sessions.find(connection, user_id, ref)
            return found and await _state(connection, found)

    async def open_session(
        self, user_id: str, ref: SessionRef, client: ClientInfo = NOBODY_KNOWN
    ) -> SessionState | None:
        found = await self.find_session(user_id, ref)
        if found is not None or ref.name is None:
            return found
        async with self._database.write_briefly() as connection:
            made = await sessions.find_or_create(connection, user_id, ref, client)
            return await _state(connection, made)

    async def running_in(self, user_id: str, session_id: str) -> str | None:
        async with self._database.read_briefly() as connection:
            found = await sessions.find(connection, user_id, SessionRef(id=session_id))
            return found and await live_in_session(connection, found.id)

    async def there(self, session_ids: Collection[str]) -> Collection[str]:
        async with self._database.read() as connection:
            found = await connection.scalars(
                select(SessionRow.id).where(
                    SessionRow.id.in_(session_ids), SessionRow.hidden.is_(False)
                )
            )
            return found.all()

    async def recent(self, user_ids: Collection[str], since: datetime) -> Sequence[Recent]:
        # Two questions, for each has an index of its own.
        if len(user_ids) == 1:  # whoever comes in
            (user_id,) = user_ids
            async with self._database.read_briefly() as connection:
                asked = await _ASKED_BY.rows(connection, {"own_user_id": user_id, "since": since})
                live = await _LIVE_OF.rows(connection, {"own_user_id": user_id})
        else:
            of_late = _RECENT.where(
                GenerationRow.user_id.in_(user_ids), GenerationRow.created_at >= since
            )
            alive = _RECENT.where(_user_of_live.in_(user_ids), IS_LIVE)
            async with self._database.read() as connection:
                asked = (await connection.execute(of_late)).all()
                live = (await connection.execute(alive)).all()
        by_id = {row.id: _recent(row) for row in [*live, *asked]}
        return sorted(by_id.values(), key=lambda each: (each.asked_at, each.generation_id))

    async def asked(self, generation_ids: Collection[str]) -> Sequence[Asked]:
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(
                    GenerationRow.id,
                    GenerationRow.user_id,
                    GenerationRow.session_id,
                    GenerationRow.message_id,
                    GenerationRow.user_message_id,
                    GenerationRow.ask_key,
                    GenerationRow.created_at,
                    SessionRow.name,
                    SessionRow.stream_responses,
                    MessageRow.content,
                )
                .join(SessionRow, SessionRow.id == GenerationRow.session_id)
                .join(MessageRow, MessageRow.id == GenerationRow.user_message_id)
                .where(GenerationRow.id.in_(generation_ids))
                .order_by(GenerationRow.created_at, GenerationRow.id)
            )
            return [
                Asked(
                    user_id=row.user_id,
                    session_id=row.session_id,
                    session_name=row.name,
                    generation_id=row.id,
                    message_id=row.message_id,
                    user_message_id=row.user_message_id,
                    question=row.content,
                    asked_at=row.created_at,
                    key=row.ask_key,
                    whole=not row.stream_responses,
                )
                for row in rows
            ]


_RECENT: Final = (
    select(
        GenerationRow.id,
        GenerationRow.user_id,
        GenerationRow.session_id,
        GenerationRow.status,
        GenerationRow.created_at,
    )
    .join(SessionRow, SessionRow.id == GenerationRow.session_id)
    .where(SessionRow.hidden.is_(False))
)
#: Not by the index of users: SQLite would look through all that they ever asked. What is live
#: has an index of its own, and is little.
_user_of_live: Final = func.coalesce(GenerationRow.user_id, "")
_ASKED_BY: Final = Statement(
    _RECENT.where(
        GenerationRow.user_id == bindparam("own_user_id"),
        GenerationRow.created_at >= bindparam("since"),
    )
)
_LIVE_OF: Final = Statement(_RECENT.where(_user_of_live == bindparam("own_user_id"), IS_LIVE))


def _recent(row: Any) -> Recent:
    return Recent(row.id, row.user_id, row.session_id, row.status in LIVE_STATES, row.created_at)


_RUNNING: Final = Statement(
    select(
        GenerationRow.id,
        GenerationRow.message_id,
        GenerationRow.epoch,
        func.max(CheckpointRow.last_offset).label("saved"),
    )
    .outerjoin(
        CheckpointRow,
        and_(
            CheckpointRow.generation_id == GenerationRow.id,
            CheckpointRow.epoch == GenerationRow.epoch,
        ),
    )
    .where(GenerationRow.session_id == bindparam("session"), IS_LIVE)
    .group_by(GenerationRow.id, GenerationRow.message_id, GenerationRow.epoch)
)


async def _state(connection: AsyncConnection, session: sessions.FoundSession) -> SessionState:
    row = await _RUNNING.first(connection, {"session": session.id})
    running = None
    if row is not None:
        position = None if row.saved is None else Position(row.epoch, row.saved)
        running = RunningAnswer(row.id, row.message_id, position)
    return SessionState(session.id, session.leaf_id, running)
