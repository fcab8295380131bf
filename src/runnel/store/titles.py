"""What is written of titles. Where one is from decides who may write the next."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import bindparam, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Turn
from runnel.chat.sessions.titles import title_of
from runnel.store import indexing
from runnel.store.engine import Database
from runnel.store.indexing import Indexing
from runnel.store.statements import Statement
from runnel.store.tables import SessionRow


class SqlTitles:
    """Implements chat.sessions.titles.TitleStore."""

    def __init__(self, database: Database, indexing: Indexing) -> None:
        self._database = database
        self._indexing = indexing

    async def begin_asking(self, session_id: str) -> bool:
        which = (
            SessionRow.id == session_id,
            SessionRow.title_by == "question",
            SessionRow.hidden.is_(False),
        )
        async with self._database.read_briefly() as connection:
            # Of most answers it is not the first; a look takes no place from those who write.
            if await connection.scalar(select(SessionRow.id).where(*which)) is None:
                return False
        async with self._database.write() as connection:
            taken = await connection.scalar(
                update(SessionRow).where(*which).values(title_by="asking").returning(SessionRow.id)
            )
            return taken is not None

    async def set_asked(self, session_id: str, title: str) -> None:
        async with self._database.write() as connection:
            user_id = await connection.scalar(
                update(SessionRow)
                .where(
                    SessionRow.id == session_id,
                    SessionRow.title_by == "asking",
                    SessionRow.hidden.is_(False),
                )
                .values(title=title, title_by="model")
                .returning(SessionRow.user_id)
            )
            if user_id is not None:
                await indexing.mark(connection, user_id, session_id, {None: title})
        self._indexing.tell()


def given_by_user(title: str | None) -> dict[str, Any]:
    """The columns of a title that the user sets or takes back: no model that was asked for one
    is asked again, nor has its say later.
    """
    if title is not None:
        return {"title": title, "title_by": "user"}
    nobody_asked = or_(SessionRow.title_by.is_(None), SessionRow.title_by == "question")
    return {"title": None, "title_by": case((nobody_asked, None), else_="user")}


def called_by(turns: Sequence[Turn]) -> str | None:
    """The title that a session has of the first question that says something."""
    said = (turn.text for turn in turns if turn.role == "user")
    question = next(filter(str.strip, said), None)
    return question and title_of(question)


_CALL: Final = Statement(
    update(SessionRow)
    .where(SessionRow.id == bindparam("own_session_id"))
    .values(
        title=bindparam("called"),
        title_by=case((SessionRow.title_by.is_(None), "question"), else_="asking"),
    )
)


async def call(connection: AsyncConnection, user_id: str, session_id: str, title: str) -> None:
    """Titles a session that has no title yet, and that nobody else changes meanwhile."""
    await _CALL.run(connection, {"own_session_id": session_id, "called": title})
    await indexing.mark(connection, user_id, session_id, {None: title})
