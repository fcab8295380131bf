"""What the search knows: texts cut into words, a passage a row. What is deleted takes its along."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import bindparam, delete, insert
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.sessions.passages import Passage, passages
from runnel.store.search_syntax import kept_words, owner_of
from runnel.store.statements import Statement
from runnel.store.tables import SearchDocumentRow

#: The roles of messages that are found.
FOUND_ROLES: Final = frozenset({"user", "assistant"})
#: Texts of more characters are cut into words in a thread: it takes a millisecond or more.
_LONG: Final = 4_096
_Key = TypeVar("_Key")
_ADD: Final = Statement(insert(SearchDocumentRow))
_FORGET_TITLE: Final = Statement(
    delete(SearchDocumentRow).where(
        SearchDocumentRow.session_id == bindparam("titled_id"),
        SearchDocumentRow.message_id.is_(None),
    )
)


@dataclass(frozen=True, slots=True)
class Document:
    """A user's text to be found: a message of a session, or its title, without `message_id`."""

    user_id: str
    session_id: str
    message_id: str | None
    passages: Sequence[Passage]


async def cut(texts: Mapping[_Key, str]) -> Mapping[_Key, Sequence[Passage]]:
    """The passages of texts; to be called before the transaction that adds them."""
    if sum(map(len, texts.values())) <= _LONG:
        return _cut(texts)
    return await asyncio.to_thread(_cut, texts)


def _cut(texts: Mapping[_Key, str]) -> Mapping[_Key, Sequence[Passage]]:
    return {key: passages(text) for key, text in texts.items()}


def titled(user_id: str, session_id: str, title: str | None) -> Document:
    """A session's title as what is found."""
    return Document(user_id, session_id, None, passages(title or ""))


async def add(connection: AsyncConnection, documents: Sequence[Document]) -> None:
    """Makes texts known, each once."""
    rows = [
        {
            "session_id": document.session_id,
            "message_id": document.message_id,
            "owner": (owner := owner_of(document.user_id)),
            "begins": passage.begin,
            "ends": passage.end,
            "words": kept_words(connection.dialect, owner, passage.words),
        }
        for document in documents
        for passage in document.passages
    ]
    if rows:
        await _ADD.run(connection, *rows)


async def forget_titles(connection: AsyncConnection, session_ids: Collection[str]) -> None:
    """What was known of sessions' titles is not found any more."""
    if session_ids:
        await _FORGET_TITLE.run(connection, *({"titled_id": each} for each in session_ids))
