"""What was said becomes known to the search soon after, many texts at once.

Each text is marked as pending in the transaction that writes it; a search first indexes what
pends of its user's. So nothing is missed, whoever searches and whatever was killed meanwhile.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import structlog
from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Integer,
    String,
    and_,
    any_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import InstrumentedAttribute

from runnel.chat.entities import Turn
from runnel.chat.sessions.passages import SEARCHED_CHARACTERS
from runnel.errors import RunnelError
from runnel.store import documents
from runnel.store.documents import Document
from runnel.store.engine import Database
from runnel.store.statements import Statement
from runnel.store.tables import MessageRow, SearchPendingRow, SessionRow, UserRow

_log = structlog.stdlib.get_logger()
#: For so long what is said gathers; who searches does not wait for it.
_GATHER_SECONDS: Final = 1.0
#: Between a try that failed and the next.
_AGAIN_SECONDS: Final = 5.0
#: So many texts are indexed at a time, of so many characters in all, or one of more.
_A_BATCH: Final = 32
_BATCH_CHARACTERS: Final = 8_192
#: The number of the advisory lock: "runnel", and the third thing that is locked by one.
_INDEXING: Final = 0x72756E6E656C02

#: A pending row, by its id, which SQLite may give again, and its message's.
_Pending = tuple[int, str | None]
_MARK: Final = Statement(insert(SearchPendingRow))
_DONE: Final = Statement(delete(SearchPendingRow).where(SearchPendingRow.id == bindparam("done")))


def said(turns: Mapping[str, Turn]) -> dict[str | None, str]:
    """What of turns, by the ids of their messages, is found: to be marked."""
    return {
        message_id: turn.text
        for message_id, turn in turns.items()
        if turn.text and turn.role in documents.FOUND_ROLES
    }


async def mark(
    connection: AsyncConnection, user_id: str, session_id: str, texts: Mapping[str | None, str]
) -> None:
    """Texts of a session that are new: of messages, by their ids, or its title, by None.

    No message twice. Once the transaction is over, `Indexing` is to be told.
    """
    if texts:
        await _MARK.run(
            connection,
            *(
                {
                    "user_id": user_id,
                    "session_id": session_id,
                    "message_id": message_id,
                    "characters": min(len(text), SEARCHED_CHARACTERS),
                }
                for message_id, text in texts.items()
            ),
        )


async def forget(connection: AsyncConnection, which: ColumnElement[bool]) -> None:
    """What pends of a user or a session that this transaction has deleted already: only behind
    that nobody indexes it just now, and the two do not wait for each other.
    """
    await connection.execute(delete(SearchPendingRow).where(which))


class Indexing:
    """Indexes what pends: a moment after it is told, and for whoever searches, at once.

    It takes what others have left too: who was killed told nobody.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._told = asyncio.Event()
        self._told.set()

    def tell(self) -> None:
        """Something pends."""
        self._told.set()

    async def watch(self) -> NoReturn:
        """Goes on until it is cancelled."""
        while True:
            await self._told.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            self._told.clear()
            try:
                await self.catch_up()
            except RunnelError as error:
                _log.warning("search.not_indexed", code=error.code.value)
            except Exception as error:  # noqa: BLE001 - the outermost frame: the next try must come
                # Its words may be what people wrote.
                _log.error("search.not_indexed", error=type(error).__name__)
            else:
                continue
            self._told.set()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def catch_up(self, user_id: str | None = None) -> None:
        """Indexes all that was committed before, of a user's or of all. Raises RunnelError
        `store_unavailable`.
        """
        more = True
        while more:
            more = await self._index(user_id)
            await asyncio.sleep(0)  # whoever asks goes first

    async def _index(self, user_id: str | None) -> bool:
        """The oldest few. False if there were none."""
        of = {} if user_id is None else {"own_user_id": user_id}
        async with self._database.look() as connection:
            rows = await (_OLDEST_OWN if of else _OLDEST).rows(connection, of)
        if not rows:
            return False
        # A message's text does not change any more once it pends; a title's may.
        texts: dict[_Pending, str] = {(row.id, row.message_id): row.text or "" for row in rows}
        passages = await documents.cut(texts)
        brief = sum(map(len, texts.values())) <= _BATCH_CHARACTERS
        write = self._database.write_briefly if brief else self._database.write
        async with write() as connection:
            if connection.dialect.name != "sqlite":  # which lets one write at a time anyway
                await _hold(connection, [row.id for row in rows])
            left = await (_LEFT_OWN if of else _LEFT).rows(connection, of | {"last": rows[-1].id})
            # Another may have indexed some, and of late others may have got their ids.
            mine = [row for row in left if (row.id, row.message_id) in texts]
            found = [row for row in mine if row.found]
            titled = {row.session_id: row for row in found if row.message_id is None}
            await documents.forget_titles(connection, titled)
            await documents.add(
                connection,
                [
                    *(documents.titled(row.user_id, key, row.title) for key, row in titled.items()),
                    *(
                        Document(
                            row.user_id,
                            row.session_id,
                            row.message_id,
                            passages[row.id, row.message_id],
                        )
                        for row in found
                        if row.message_id is not None
                    ),
                ],
            )
            if mine:
                await _DONE.run(connection, *({"done": row.id} for row in mine))
        return True


async def _hold(connection: AsyncConnection, ids: Sequence[int]) -> None:
    """One indexes at a time, and till the end nobody deletes whose texts these are.

    First all users, then all sessions, each in their order, as who deletes them goes: in another
    order the two could deadlock. Whoever asks or ends an answer waits for none of it.
    """
    await _ALONE.rows(connection, {})
    for held in (_HOLD_USERS, _HOLD_SESSIONS):
        await held.rows(connection, {"held_ids": ids})


def _holding(row: type[UserRow | SessionRow], key: InstrumentedAttribute[str]) -> Statement:
    held = SearchPendingRow.id == any_(bindparam("held_ids", type_=ARRAY(Integer)))
    which = row.id.in_(select(key).where(held))
    return Statement(
        select(row.id).where(which).order_by(row.id).with_for_update(read=True, key_share=True)
    )


_ALONE: Final = Statement(select(func.pg_advisory_xact_lock(_INDEXING).label("locked")))
_HOLD_USERS: Final = _holding(UserRow, SearchPendingRow.user_id)
_HOLD_SESSIONS: Final = _holding(SessionRow, SearchPendingRow.session_id)


def _oldest(*which: ColumnElement[bool]) -> Statement:
    """With the texts of messages; a title is read when it is written."""
    first = (
        select(SearchPendingRow.id, SearchPendingRow.message_id, SearchPendingRow.characters)
        .where(*which)
        .order_by(SearchPendingRow.id)
        .limit(_A_BATCH)
        .subquery()
    )
    up_to = func.sum(first.c.characters).over(order_by=first.c.id)
    summed = select(first, up_to.label("up_to")).subquery()
    return Statement(
        select(
            summed.c.id,
            summed.c.message_id,
            func.substr(MessageRow.content, 1, SEARCHED_CHARACTERS).label("text"),
        )
        .outerjoin_from(summed, MessageRow, MessageRow.id == summed.c.message_id)
        .where(or_(summed.c.up_to <= _BATCH_CHARACTERS, summed.c.up_to == summed.c.characters))
        .order_by(summed.c.id)
    )


def _left(*which: ColumnElement[bool]) -> Statement:
    """Whether what pends is still to be `found`: it may have been deleted, its session hidden."""
    message_there = or_(SearchPendingRow.message_id.is_(None), MessageRow.id.is_not(None))
    return Statement(
        select(
            SearchPendingRow.id,
            SearchPendingRow.user_id,
            SearchPendingRow.session_id,
            SearchPendingRow.message_id,
            SessionRow.title,
            and_(SessionRow.id.is_not(None), message_there).label("found"),
        )
        .outerjoin(
            SessionRow,
            and_(SessionRow.id == SearchPendingRow.session_id, SessionRow.hidden.is_(False)),
        )
        .outerjoin(MessageRow, MessageRow.id == SearchPendingRow.message_id)
        .where(SearchPendingRow.id <= bindparam("last", type_=Integer()), *which)
        .order_by(SearchPendingRow.id)
    )


_IS_OWN: Final = SearchPendingRow.user_id == bindparam("own_user_id", type_=String())
_OLDEST, _OLDEST_OWN = _oldest(), _oldest(_IS_OWN)
_LEFT, _LEFT_OWN = _left(), _left(_IS_OWN)
