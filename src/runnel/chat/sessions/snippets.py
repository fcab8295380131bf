"""The piece of a text in which something was found, as HTML that is safe to show."""

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from runnel.chat.sessions.searching import Query, Term
from runnel.chat.sessions.words import Word, words

#: About so long a snippet is, and so much of it stands before what was found.
SNIPPET_CHARACTERS: Final = 160
_BEFORE: Final = 40
_SPACE: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Found:
    """A text, or a piece of one: `cut_before` and `cut_after` say on which sides more of it is."""

    text: str
    cut_before: bool = False
    cut_after: bool = False


@dataclass(frozen=True, slots=True)
class _Hit:
    """A term in a text: its first and last word by their numbers, its place in characters."""

    term: Term
    first: int
    last: int
    begin: int
    end: int


def snippet(found: Found, query: Query) -> str:
    """Where the most terms stand together, the first such place; each found word in `<mark>`.

    `…` where the text is cut; white space is one space; all else is escaped.
    """
    text = found.text
    here = list(words(text))
    hits = list(_hits(here, query))
    begin, end = _window(text, here, _best(hits, len(query.terms)))
    numbers = sorted({number for hit in hits for number in range(hit.first, hit.last + 1)})
    marked = _marked(text, [here[number] for number in numbers], begin, end)
    before = "…" if found.cut_before or text[:begin].strip() else ""
    after = "…" if found.cut_after or text[end:].strip() else ""
    return f"{before}{marked.strip()}{after}"


def _hits(here: Sequence[Word], query: Query) -> Iterator[_Hit]:
    """In the order of their first words."""
    firsts = tuple(term.words[0] for term in query.terms)
    texts = [word.text for word in here]
    for number, text in enumerate(texts):
        if text.startswith(firsts):
            for term in query.terms:
                last = number + len(term.words) - 1
                if _stands(term, texts[number : last + 1]):
                    yield _Hit(term, number, last, here[number].begin, here[last].end)


def _stands(term: Term, there: Sequence[str]) -> bool:
    *before, last = term.words
    if [*there[:-1]] != before:
        return False
    return there[-1].startswith(last) if term.open else there[-1] == last


def _best(hits: Sequence[_Hit], terms: int) -> int:
    """The number of the word at which a snippet has the most terms; 0 if there are none."""
    best, most = 0, 0
    inside: Counter[Term] = Counter()
    upto = 0
    for number, hit in enumerate(hits):
        upto = max(upto, number)
        while upto < len(hits) and hits[upto].end - hit.begin <= SNIPPET_CHARACTERS - _BEFORE:
            inside[hits[upto].term] += 1
            upto += 1
        if (distinct := max(1, len(inside))) > most:
            best, most = hit.first, distinct
        if most == terms:
            break
        if upto > number:
            inside[hit.term] -= 1
            if not inside[hit.term]:
                del inside[hit.term]
    return best


def _window(text: str, here: Sequence[Word], number: int) -> tuple[int, int]:
    """The characters to show around a word, cut where words begin and end."""
    if not here:
        return 0, min(len(text), SNIPPET_CHARACTERS)
    word = here[number]
    begin = 0
    if word.begin > _BEFORE:
        begin = here[bisect_left(here, word.begin - _BEFORE, key=lambda each: each.begin)].begin
    end = begin + SNIPPET_CHARACTERS
    if end >= len(text):
        return begin, len(text)
    last = bisect_right(here, end, key=lambda each: each.end) - 1
    return begin, here[last].end if last >= number else end


def _marked(text: str, marked: Sequence[Word], begin: int, end: int) -> str:
    pieces: list[str] = []
    shown = begin
    for first, last in _joined(marked):
        first, last = max(first, begin), min(last, end)  # noqa: PLW2901 - as much as is shown
        if first < last:
            pieces += [_html(text[shown:first]), f"<mark>{_html(text[first:last])}</mark>"]
            shown = last
    pieces.append(_html(text[shown:end]))
    return "".join(pieces)


def _joined(marked: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """The places of words; those that touch, as characters without spaces do, are one."""
    stretch: tuple[int, int] | None = None
    for word in marked:
        if stretch is not None and stretch[1] == word.begin:
            stretch = stretch[0], word.end
            continue
        if stretch is not None:
            yield stretch
        stretch = word.begin, word.end
    if stretch is not None:
        yield stretch


def _html(text: str) -> str:
    return escape(_SPACE.sub(" ", text))
