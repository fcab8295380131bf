"""What is found of titles and messages: looked up for their owner alone."""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    cast,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from runnel.chat.sessions.searching import Match, Query
from runnel.chat.sessions.snippets import Found, snippet
from runnel.store.search_syntax import index_query, owner_of
from runnel.store.tables import MessageRow, SearchDocumentRow, SessionRow

#: To show where it was found in texts of more characters takes a millisecond or more.
_LONG: Final = 4_096


@dataclass(frozen=True, slots=True)
class FoundText:
    """A text in which something was found: a message, or the title, without `message_id`."""

    session_id: str
    message_id: str | None
    found: Found


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
