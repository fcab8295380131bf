"""What people search for: words and phrases. Nothing else that they type means anything."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runnel.chat.sessions.passages import OVERLAP_WORDS
from runnel.chat.sessions.words import stands_alone, words
from runnel.errors import Code, RunnelError

#: What may be searched for at once.
QUERY_CHARACTERS: Final = 1_000
QUERY_WORDS: Final = OVERLAP_WORDS + 1
_QUOTES: Final = str.maketrans(dict.fromkeys("“”„«»", '"'))
#: What is quoted, or stands without a space; a quote without another is as a space.
_PART: Final = re.compile(r'"([^"]*)"|([^\s"]+)')


@dataclass(frozen=True, slots=True)
class Term:
    """Words that stand one behind the other. If it is `open`, the last may go on."""

    words: tuple[str, ...]
    open: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A text is found if all of its terms stand in it. Without any term it finds nothing."""

    terms: Sequence[Term]


@dataclass(frozen=True, slots=True)
class Match:
    """Where in a session something was found: in a message, or, without one, in the title.

    `snippet` is HTML, with `<mark>` around what was found.
    """

    message_id: str | None
    snippet: str


def parse_query(text: str) -> Query:
    """What is typed into a search: `words` as beginnings of words, `"words"` as they stand.

    What is written without a space, as `don't` or `2026-11-27`, stands together. One letter
    begins too many words to mean them. Raises RunnelError `invalid_request` if it is too long.
    """
    if len(text) > QUERY_CHARACTERS:
        raise _too_long(f"{len(text)} characters; {QUERY_CHARACTERS}")
    terms: dict[Term, None] = {}
    count = 0
    for part in _PART.finditer(text.translate(_QUOTES)):
        quoted, plain = part.groups()
        found = tuple(word.text for word in words(quoted or plain or ""))
        count += len(found)
        if found:
            whole = quoted is not None or len(found[-1]) == 1 or stands_alone(found[-1])
            terms[Term(found, open=not whole)] = None
    if count > QUERY_WORDS:
        raise _too_long(f"{count} words; {QUERY_WORDS}")
    return Query(tuple(terms))


def _too_long(what: str) -> RunnelError:
    return RunnelError(
        Code.INVALID_REQUEST, f"The search has {what} are allowed. Search for less.", field="q"
    )
