"""An answer whose text is awkward, long enough to be cut, and held in its middle."""

from typing import Any, Final

from provider import Answer
from reading import cleaned
from standing import Standing

# Line breaks, leading spaces, separators of lines that are none here, pairs and joined emoji, and
# what looks like the stream's own words.
WORDS: Final[tuple[str, ...]] = (
    *("Hello", " world", "  indented", "\n", "\n\n", "a\nb\n", "\r\n", "\ttab", " "),
    *("\u2028", "\u2029", "\u0085", "\ufeff", "\u00e9", "\U0001f389", "\U0001f469\u200d\U0001f4bb"),
    *(
        "\n",
        "[DONE]",
        "\n",
        "[DONE]\n",
        "data: [DONE]\n",
        "\nid: 9-9\n",
        ": no comment\n",
        "event: end",
    ),
)
# Of many kilobytes, in one frame: a cut after CUT_IN_WIDE bytes of a response that begins with the
# answer, or at its middle, falls inside it.
WIDE: Final = "wide " * 5000
CUT_IN_WIDE: Final = 12_000
MIDDLE: Final = len(WORDS) * 2 + 1
PIECES: Final[tuple[str, ...]] = (*WORDS, WIDE, *WORDS, *WORDS, WIDE, *WORDS)
TEXT: Final = cleaned(PIECES)
UP_TO_MIDDLE: Final = cleaned(PIECES[:MIDDLE])


def in_background(stand: Standing, answer: Answer, form: str) -> dict[str, Any]:
    """Asks, and leaves the answer to whoever attaches."""
    response = stand.ask("/chat", answer, background=True, format=form)
    assert response.status_code == 202, response.text
    return response.json()
