"""Words and queries as full-text indexes are told them: FTS5 of SQLite, tsvector of Postgres.

Words are only letters, digits and marks, so nothing in them has to be quoted.
"""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import Dialect

from runnel.chat.sessions.searching import Query, Term


def owner_of(user_id: str) -> str:
    """A user's id as one word."""
    return user_id.replace("-", "")


def kept_words(dialect: Dialect, owner: str, words: Sequence[str]) -> str:
    """The value of `search_documents.words`."""
    return " ".join(words) if dialect.name == "sqlite" else _tsvector(owner, words)


def index_query(dialect: Dialect, owner: str, query: Query) -> str:
    """The query of what is the owner's. Raises ValueError for one without a term."""
    if not query.terms:
        raise ValueError("a query without a term finds nothing")
    return _fts5(owner, query) if dialect.name == "sqlite" else _tsquery(owner, query)


def _tsvector(owner: str, words: Sequence[str]) -> str:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for place, word in enumerate(words, 1):
        places[word].append(str(place))
    return " ".join([f"'@{owner}'", *(f"'{word}':{','.join(places[word])}" for word in places)])


def _tsquery(owner: str, query: Query) -> str:
    return " & ".join([f"'@{owner}'", *(_tsquery_term(term) for term in query.terms)])


def _tsquery_term(term: Term) -> str:
    *before, last = [f"'{word}'" for word in term.words]
    return f"({' <-> '.join([*before, f'{last}:*' if term.open else last])})"


def _fts5(owner: str, query: Query) -> str:
    terms = " AND ".join(f'"{" ".join(term.words)}"{" *" * term.open}' for term in query.terms)
    return f'owner : "{owner}" AND words : ({terms})'
