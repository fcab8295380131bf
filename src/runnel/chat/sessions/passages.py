"""Cuts a text into passages, each small enough to be found as one document of a database."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from runnel.chat.sessions.words import Word, plain_words, words

#: So many characters of a text are searched.
SEARCHED_CHARACTERS: Final = 262_144
PASSAGE_WORDS: Final = 4_000
#: How often a word may stand in a passage: Postgres keeps 255 of its places.
SAME_WORD: Final = 255
#: So many words of a passage begin the next, so that a phrase of them and one is never cut.
OVERLAP_WORDS: Final = 31


@dataclass(frozen=True, slots=True)
class Passage:
    """Words of a text in their order, which are those of its characters from `begin` to `end`.

    The first passage begins where the text does, the last one ends where it ends.
    """

    words: Sequence[str]
    begin: int
    end: int


def passages(text: str) -> list[Passage]:
    """Most texts are one; one without a word is none."""
    searched = text[:SEARCHED_CHARACTERS]
    # Where each word stands is of interest only where a text is cut, which most are not.
    if searched.isascii() and _is_whole(plain := plain_words(searched)):
        return [Passage(plain, 0, len(searched))] if plain else []
    found = list(words(searched))
    return [
        Passage(
            [word.text for word in found[begin:end]],
            found[begin].begin if begin > 0 else 0,
            found[end - 1].end if end < len(found) else len(searched),
        )
        for begin, end in _cut(found)
    ]


def _is_whole(plain: Sequence[str]) -> bool:
    """Whether so many words are no more than one passage."""
    if len(plain) <= SAME_WORD:
        return True
    return len(plain) <= PASSAGE_WORDS and max(Counter(plain).values()) <= SAME_WORD


def _cut(found: Sequence[Word]) -> Iterator[tuple[int, int]]:
    begin, end = 0, _end(found, 0)
    while begin < end:
        yield begin, end
        if end == len(found):
            return
        begin = end - OVERLAP_WORDS
        end = _end(found, begin)


def _end(found: Sequence[Word], begin: int) -> int:
    """Where the passage ends that begins there."""
    longest = min(begin + PASSAGE_WORDS, len(found))
    if longest - begin <= SAME_WORD:
        return longest
    counts: Counter[str] = Counter()
    for number in range(begin, longest):
        word = found[number].text
        counts[word] += 1
        if counts[word] > SAME_WORD:
            return number
    return longest
