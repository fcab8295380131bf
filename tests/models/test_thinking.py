"""Reasoning that stands in the text, taken out; however the text was cut into pieces."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runnel.models.thinking import Thinking

TAGS = ["think", "thinking"]
#: What makes up the texts that are hard: tags, halves of tags, and what stands around them.
PARTS = ["<think>", "</think>", "<thinking>", "</thinking>", "<", ">", "/", "think", "ing", "\n"]
texts = st.lists(st.sampled_from([*PARTS, " ", "a", "é"]), max_size=12).map("".join)


def shown(pieces: Sequence[str], tag: str = "think") -> str:
    thinking = Thinking(tag)
    return "".join(thinking.feed(piece) for piece in pieces) + thinking.flush()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Hello", "Hello"),
        ("<think>hm</think>Hello", "Hello"),
        ("\n <think>hm\n</think>\n\nHello\n", "Hello\n"),
        ("<think></think>Hello", "Hello"),
        ("<think>a</think><think>b</think>", "<think>b</think>"),
        ("Use <think>x</think> so.", "Use <think>x</think> so."),
        ("<thinker>", "<thinker>"),
        ("<think>never ends", ""),
        ("<think>ends behind</think>", ""),
        ("<thin", "<thin"),
        ("  \n", "  \n"),
        ("", ""),
    ],
)
def test_only_what_is_thought_before_all_else_is_taken_out(text: str, answer: str) -> None:
    assert shown([text]) == answer


def test_another_tag_is_text() -> None:
    text = "<thinking>hm</thinking>Hello"
    assert (shown([text]), shown([text], "thinking")) == (text, "Hello")


@given(data=st.data(), text=texts, tag=st.sampled_from(TAGS))
@example(data=None, text="<think>a</think>\n\nb", tag="think")
def test_any_cutting_gives_the_same_text(data: st.DataObject | None, text: str, tag: str) -> None:
    whole = shown([text], tag)
    for pieces in cuttings(data, text):
        assert shown(pieces, tag) == whole


def cuttings(data: st.DataObject | None, text: str) -> Iterator[Sequence[str]]:
    """Into characters; and, if there is a choice to be made, into any other pieces."""
    yield list(text)
    if data is not None:
        places = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
        yield [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(text=texts, tag=st.sampled_from(TAGS))
def test_what_is_shown_is_the_texts_end(text: str, tag: str) -> None:
    assert text.endswith(shown(list(text), tag))


def test_an_answer_is_held_back_no_longer_than_it_may_be_a_tag() -> None:
    thinking = Thinking()
    assert [thinking.feed(piece) for piece in ("<th", "at", " is", " it")] == [
        "",
        "<that",
        " is",
        " it",
    ]


def test_long_reasoning_is_not_kept() -> None:
    thinking = Thinking()
    thinking.feed("<think>")
    for _ in range(1000):
        thinking.feed("hm " * 100)
    assert len(thinking._held) < len("</think>")
