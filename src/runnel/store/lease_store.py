"""Leases over SQL, and all that whoever takes an answer over has to know of it."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Params, SessionRef
from runnel.chat.leases import Held
from runnel.chat.takeover import Reopened, Taken
from runnel.store import leases, sessions, shown, tree
from runnel.store.engine import Database
from runnel.store.tables import GenerationRow, SessionRow


class SqlLeases:
    """Implements chat.leases.LeaseStore and chat.takeover.TakeoverStore."""

    def __init__(self, database: Database, *, history_max_messages: int) -> None:
        self._database = database
        self._history_max_messages = history_max_messages

    async def renew(self, owner: str, ids: Collection[str], seconds: float) -> Sequence[Held]:
        async with self._database.write() as connection:
            rows = await leases.renew(connection, owner, ids, seconds)
        return [
            Held(
                row.id,
                abort_by=None if row.abort_requested_at is None else row.aborted_by or "user",
                needs_reader=row.needs_reader,
            )
            for row in rows
        ]

    async def take_over(
        self, owner: str, seconds: float, most: int, *, expired: bool
    ) -> Sequence[Taken]:
        async with self._database.write() as connection:
            ids = await leases.take(connection, owner, seconds, most, expired=expired)
            if not ids:
                return ()
            rows = await connection.execute(_TAKEN.where(GenerationRow.id.in_(ids)))
            return [await _taken(connection, row) for row in rows.all()]

    async def reopen(self, taken: Taken) -> Reopened | None:
        generation = taken.generation
        async with self._database.read() as connection:
            session = await sessions.find(
                connection, generation.user_id, SessionRef(id=generation.session_id)
            )
            question = await tree.place(connection, generation.user_message_id)
            if session is None or question is None:
                return None
            branch = await sessions.branch(connection, question, self._history_max_messages)
        return Reopened(branch.turns, session.settings, branch.beyond)


_TAKEN = select(
    GenerationRow.id,
    GenerationRow.params,
    GenerationRow.prompt_tokens,
    GenerationRow.needs_reader,
    GenerationRow.abort_requested_at,
    GenerationRow.aborted_by,
    (func.clock_timestamp() - GenerationRow.created_at).label("age"),
    SessionRow.hidden,
).join(SessionRow, SessionRow.id == GenerationRow.session_id)


async def _taken(connection: AsyncConnection, row: Row[*tuple[Any, ...]]) -> Taken:
    generation = await shown.get(connection, row.id)
    assert generation is not None
    return Taken(
        generation,
        params=Params(**row.params),
        prompt_tokens=row.prompt_tokens,
        stateless=row.hidden,
        needs_reader=row.needs_reader,
        abort_by=None if row.abort_requested_at is None else row.aborted_by or "user",
        age_seconds=max(0.0, row.age.total_seconds()),
    )
