"""What is found of titles and messages: written beside them, looked up for their owner alone.

Hidden sessions are never in it. What is deleted takes its words along.
"""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from runnel.chat.entities import Turn
from runnel.chat.sessions.passages import Passage, passages
from runnel.chat.sessions.searching import Match, Query
from runnel.chat.sessions.snippets import Found, snippet
from runnel.store.search_syntax import index_query, kept_words, owner_of
from runnel.store.statements import Statement
from runnel.store.tables import MessageRow, SearchDocumentRow, SessionRow

#: The roles of messages that are found.
_FOUND_ROLES: Final = frozenset({"user", "assistant"})
#: Texts of more characters are cut into words in a thread: it takes a millisecond or more.
_LONG: Final = 4_096

#: The passages of texts, by the text.
Prepared = Mapping[str, Sequence[Passage]]


@dataclass(frozen=True, slots=True)
class Document:
    """A text to be found: a message of a session, or its title, without `message_id`."""

    session_id: str
    message_id: str | None
    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class FoundText:
    """A text in which something was found: a message, or the title, without `message_id`."""

    session_id: str
    message_id: str | None
    found: Found


async def prepared(texts: Collection[str]) -> Prepared:
    """The passages of texts; to be called before the transaction that adds them."""
    if sum(map(len, texts)) <= _LONG:
        return _prepared(texts)
    return await asyncio.to_thread(_prepared, texts)


def _prepared(texts: Collection[str]) -> Prepared:
    return {text: passages(text) for text in texts}


def texts(turns: Collection[Turn]) -> list[str]:
    """What of turns is found."""
    return [turn.text for turn in turns if turn.role in _FOUND_ROLES]


_ADD: Final = Statement(insert(SearchDocumentRow))


async def add(connection: AsyncConnection, user_id: str, documents: Sequence[Document]) -> None:
    """Makes texts of a user's known, each once."""
    owner = owner_of(user_id)
    rows = [
        {
            "session_id": document.session_id,
            "message_id": document.message_id,
            "owner": owner,
            "begins": passage.begin,
            "ends": passage.end,
            "words": kept_words(connection.dialect, owner, passage.words),
        }
        for document in documents
        for passage in document.passages
    ]
    if rows:
        await _ADD.run(connection, *rows)


def documents(session_id: str, turns: Mapping[str, Turn], words: Prepared) -> list[Document]:
    """Turns by the ids of their messages, as far as their texts were prepared."""
    return [
        Document(session_id, message_id, words[turn.text])
        for message_id, turn in turns.items()
        if turn.role in _FOUND_ROLES and turn.text in words
    ]


def titled(session_id: str, title: str | None) -> Document:
    """A session's title as what is found."""
    return Document(session_id, None, passages(title or ""))


async def set_title(
    connection: AsyncConnection, user_id: str, session_id: str, title: str | None
) -> None:
    """Makes a session's title known in place of the one before."""
    await connection.execute(
        delete(SearchDocumentRow).where(
            SearchDocumentRow.session_id == session_id, SearchDocumentRow.message_id.is_(None)
        )
    )
    await add(connection, user_id, [titled(session_id, title)])


def sessions_with(connection: AsyncConnection, user_id: str, query: Query) -> Select[str]:
    """The ids of a user's sessions in which something is found. The query has to have a term."""
    found = select(SearchDocumentRow.session_id).where(_matching(connection, user_id, query))
    # Else Postgres may look through all words of session after session, the newest first, which
    # is slow where few have what is searched for.
    return select(found.cte("found").prefix_with("MATERIALIZED").c.session_id)


async def matches(
    connection: AsyncConnection,
    user_id: str,
    session_ids: Collection[str],
    query: Query,
    most: int = 3,
) -> list[FoundText]:
    """Where in sessions something is found: in each one's title, and its newest messages, at most
    so many.

    Of a long text it is the first passage. The query has to have a term.
    """
    first = (
        select(
            SearchDocumentRow.session_id,
            SearchDocumentRow.message_id,
            func.min(SearchDocumentRow.id).label("id"),
        )
        .where(
            SearchDocumentRow.session_id.in_(session_ids),
            _matching(connection, user_id, query, session_ids),
        )
        .group_by(SearchDocumentRow.session_id, SearchDocumentRow.message_id)
        .subquery()
    )
    # Ids begin with the time at which they were made.
    place = func.row_number().over(
        partition_by=(first.c.session_id, first.c.message_id.is_(None)),
        order_by=first.c.message_id.desc(),
    )
    newest = select(first.c.id, place.label("place")).subquery()
    text = func.coalesce(MessageRow.content, SessionRow.title, "")
    rows = await connection.execute(
        select(
            SearchDocumentRow.session_id,
            SearchDocumentRow.message_id,
            SearchDocumentRow.begins,
            func.substr(
                text,
                SearchDocumentRow.begins + 1,
                SearchDocumentRow.ends - SearchDocumentRow.begins,
            ).label("piece"),
            (func.length(text) > SearchDocumentRow.ends).label("cut_after"),
        )
        .join(newest, newest.c.id == SearchDocumentRow.id)
        .join(SessionRow, SessionRow.id == SearchDocumentRow.session_id)
        .outerjoin(MessageRow, MessageRow.id == SearchDocumentRow.message_id)
        .where(newest.c.place <= most)
        .order_by(SearchDocumentRow.message_id.is_not(None), SearchDocumentRow.message_id.desc())
    )
    return [
        FoundText(
            row.session_id,
            row.message_id,
            Found(row.piece, cut_before=row.begins > 0, cut_after=row.cut_after),
        )
        for row in rows
    ]


async def snippets(texts: Collection[FoundText], query: Query) -> dict[str, list[Match]]:
    """What is shown of what was found, by session; to be called when the transaction is over."""
    if sum(len(text.found.text) for text in texts) <= _LONG:
        return _snippets(texts, query)
    return await asyncio.to_thread(_snippets, texts, query)


def _snippets(texts: Collection[FoundText], query: Query) -> dict[str, list[Match]]:
    shown: defaultdict[str, list[Match]] = defaultdict(list)
    for text in texts:
        shown[text.session_id].append(Match(text.message_id, snippet(text.found, query)))
    return shown


def _matching(
    connection: AsyncConnection, user_id: str, query: Query, near: Collection[str] = ()
) -> ColumnElement[bool]:
    """Which documents have it. `near` are the ids of the sessions whose documents are wanted."""
    asked = index_query(connection.dialect, owner_of(user_id), query)
    if connection.dialect.name != "sqlite":
        from sqlalchemy.dialects.postgresql import TSQUERY  # noqa: PLC0415 - only Postgres needs it

        return SearchDocumentRow.words.op("@@")(cast(literal(asked, Text), TSQUERY))
    index = table("search_index", column("rowid"))
    found = select(index.c.rowid).where(literal_column("search_index").op("MATCH")(asked))
    if near:
        # What was said of late stands together in the index; all else is then passed over.
        document = aliased(SearchDocumentRow)
        within = document.session_id.in_(near)
        found = found.where(
            index.c.rowid >= select(func.min(document.id)).where(within).scalar_subquery(),
            index.c.rowid <= select(func.max(document.id)).where(within).scalar_subquery(),
        )
    return SearchDocumentRow.id.in_(found)
