"""The store of sessions as people use them, over SQL: each call one short transaction."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import SessionRef
from runnel.chat.sessions.changes import Changes, NewSession, ReactionChanges, given
from runnel.chat.sessions.entities import Reactions, Session, StoredMessage
from runnel.chat.sessions.ports import MessagePage, Wanted
from runnel.chat.sessions.refs import unknown_message
from runnel.errors import Code, RunnelError
from runnel.store import indexing, messages, search, session_rows, titles, tree
from runnel.store.engine import Database
from runnel.store.ids import new_id
from runnel.store.indexing import Indexing
from runnel.store.sessions import find, own
from runnel.store.tables import GenerationRow, MessageRow, SessionRow


class SqlSessions:
    """Implements chat.sessions.ports.SessionStore. `idle_seconds`: without anything happening."""

    def __init__(
        self,
        database: Database,
        indexing: Indexing,
        *,
        idle_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._indexing = indexing
        self._idle = timedelta(seconds=idle_seconds)
        self._clock = clock

    async def create(self, user_id: str, new: NewSession) -> Session:
        made = SessionRef(id=new_id())
        moment = self._clock()
        try:
            async with self._database.write() as connection:
                await connection.execute(
                    insert(SessionRow).values(
                        id=made.id,
                        user_id=user_id,
                        name=new.name,
                        started_at=moment,
                        last_activity=moment,
                        project_id=new.project_id,
                        title=new.title,
                        title_by=new.title and "user",
                        **asdict(new.settings),
                        **asdict(new.client),
                    )
                )
                found = await self._get(connection, user_id, made)
                if found is not None and found.title is not None:
                    await indexing.mark(connection, user_id, found.id, {None: found.title})
        except IntegrityError:
            raise RunnelError(
                Code.CONFLICT, "A session has this name already.", field="name"
            ) from None
        assert found is not None
        self._indexing.tell()
        return found

    async def get(self, user_id: str, ref: SessionRef) -> Session | None:
        async with self._database.read() as connection:
            return await self._get(connection, user_id, ref)

    async def page(
        self, user_id: str, wanted: Wanted, cursor: str | None, limit: int
    ) -> tuple[Sequence[Session], str | None]:
        query = wanted.query
        if query is not None and query.terms:
            await self._indexing.catch_up(user_id)
        async with self._database.read() as connection:
            found, following = await session_rows.page(
                connection, user_id, wanted, cursor, limit=limit, idle_since=self._idle_since
            )
            if query is None or not found:
                return found, following
            texts = await search.matches(
                connection, user_id, [session.id for session in found], query
            )
        matches = await search.snippets(texts, query)
        return [
            replace(session, matches=matches.get(session.id, ())) for session in found
        ], following

    async def change(self, user_id: str, ref: SessionRef, changes: Changes) -> Session | None:
        async with self._database.write() as connection:
            if values := self._values(changes):
                await connection.execute(
                    update(SessionRow).where(own(user_id, ref)).values(**values)
                )
            changed = await self._get(connection, user_id, ref)
            if changed is not None and "title" in values:
                await indexing.mark(connection, user_id, changed.id, {None: changed.title or ""})
        self._indexing.tell()
        return changed

    async def messages(
        self, user_id: str, ref: SessionRef, page: MessagePage
    ) -> tuple[Sequence[StoredMessage], str | None] | None:
        async with self._database.read() as connection:
            session = await find(connection, user_id, ref)
            if session is None:
                return None
            if page.tree:
                return await messages.in_tree(connection, session.id, page)
            return await messages.on_branch(connection, session, page)

    async def choose_branch(self, user_id: str, ref: SessionRef, message_id: str) -> Session | None:
        async with self._database.write() as connection:
            session = await find(connection, user_id, ref, lock=True)
            if session is None:
                return None
            place = await tree.place(connection, message_id)
            if place is None or place.session_id != session.id:
                raise unknown_message()
            await connection.execute(
                update(SessionRow)
                .where(SessionRow.id == session.id)
                .values(leaf_id=await tree.newest_leaf(connection, place))
            )
            return await self._get(connection, user_id, ref)

    async def react(
        self, user_id: str, ref: SessionRef, message_id: str, changes: ReactionChanges
    ) -> Reactions | None:
        async with self._database.write() as connection:
            session = await find(connection, user_id, ref, lock=True)
            if session is None:
                return None
            place = await tree.place(connection, message_id)
            if place is None or place.session_id != session.id:
                raise unknown_message()
            if place.role != "assistant":
                raise RunnelError(Code.CONFLICT, "Reactions go with answers; this is none.")
            which = MessageRow.id == message_id
            if values := given(changes):
                await connection.execute(update(MessageRow).where(which).values(**values))
            rows = await connection.execute(
                select(MessageRow.helpful, MessageRow.rating).where(which)
            )
            return Reactions(*rows.one())

    async def last_generation(self, user_id: str, ref: SessionRef) -> str | None:
        async with self._database.read() as connection:
            return await connection.scalar(
                select(GenerationRow.id)
                .join(SessionRow, SessionRow.id == GenerationRow.session_id)
                .where(own(user_id, ref))
                .order_by(GenerationRow.created_at.desc(), GenerationRow.id.desc())
                .limit(1)
            )

    @property
    def _idle_since(self) -> datetime:
        return self._clock() - self._idle

    async def _get(
        self, connection: AsyncConnection, user_id: str, ref: SessionRef
    ) -> Session | None:
        return await session_rows.get(connection, user_id, ref, self._idle_since)

    def _values(self, changes: Changes) -> dict[str, Any]:
        values = given(changes)
        if "title" in values:
            values |= titles.given_by_user(values["title"])
        match values.pop("closed", None):
            case True:
                # What is closed already stays so since when it was.
                values["closed_at"] = func.coalesce(SessionRow.closed_at, self._clock())
            case False:
                values |= {"closed_at": None, "last_activity": self._clock()}
            case _:
                pass
        return values
