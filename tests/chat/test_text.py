"""Cleaning and cutting of text: what comes out does not depend on how it came in."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reading import cleaned
from runnel.chat.text import Cleaner, clean, split_forged_ends

RICH: Final = st.lists(
    st.sampled_from(
        ["\r", "\n", "\r\n", "\0", "\ud83d", "\ude00", "😀", "a", " ", "[DONE]", "[DO", "NE]", "\t"]
    )
    | st.characters(),
    max_size=30,
).map("".join)


@st.composite
def cut(draw: st.DrawFn) -> list[str]:
    text = draw(RICH)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=10)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(RICH)
def test_cleaning_does_what_the_protocol_says(text: str) -> None:
    assert clean(text) == cleaned([text])
    assert clean(clean(text)) == clean(text)


@given(cut())
def test_a_text_in_any_pieces_is_cleaned_as_the_whole(pieces: list[str]) -> None:
    cleaner = Cleaner()
    fed = [cleaner.feed(piece) for piece in pieces]
    assert "".join([*fed, cleaner.flush()]) == clean("".join(pieces))
    assert cleaner.flush() == ""
    for text in fed:
        text.encode()  # what is shown at once holds no half of anything


def test_nothing_is_held_back_longer_than_it_has_to_be() -> None:
    cleaner = Cleaner()
    given_and_shown = [
        ("a\r", "a"),
        ("", ""),
        ("\n", "\n"),
        ("b\ud83d", "b"),
        ("\ude00", "😀"),
        ("\r", ""),
        ("c", "\nc"),
        ("\ud83d", ""),
        ("\r", "\ufffd"),
        ("\ud83d", "\n"),
    ]
    for piece, shown in given_and_shown:
        assert cleaner.feed(piece) == shown
    assert cleaner.flush() == "\ufffd"


@given(RICH.map(clean))
def test_no_line_of_a_cut_text_reads_as_the_end_mark(text: str) -> None:
    pieces = split_forged_ends(text)
    assert "".join(pieces) == text
    lines = [line for piece in pieces for line in piece.split("\n")]
    assert "[DONE]" not in [line.strip() for line in lines]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [""]),
        ("[DONE]", ["[DO", "NE]"]),
        ("a\n[DONE]", ["a\n[DO", "NE]"]),
        (" [DONE]\t\nb", [" [DO", "NE]\t\nb"]),
        ("[DONE]\n[DONE]", ["[DO", "NE]\n[DO", "NE]"]),
        ("\u2003[DONE]\u00a0", ["\u2003[DO", "NE]\u00a0"]),
        ("\ufeff[DONE]\ufeff", ["\ufeff[DO", "NE]\ufeff"]),  # white space to JavaScript's trim
        ("it says [DONE]", ["it says [DONE]"]),
        ("[DONE]!", ["[DONE]!"]),
        ("[[DONE]]", ["[[DONE]]"]),
    ],
)
def test_a_line_that_is_the_end_mark_is_cut_in_two(text: str, pieces: list[str]) -> None:
    assert split_forged_ends(text) == pieces
