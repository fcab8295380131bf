"""No text of a model can forge a frame: two readers give back exactly what was stored."""

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import httpx
import pytest
from hypothesis import example, given, note, seed, settings
from hypothesis import strategies as st

from provider import Answer
from reading import cleaned, parsed_events, parsed_text, simplest_text, text_of
from standing import Standing, standing

SEED: Final = int(os.environ.get("RUNNEL_TEST_SEED") or random.randrange(2**32))

#: Name → the pieces that the provider sends.
NASTY: Final[dict[str, Sequence[str]]] = {
    "line breaks": ["one\ntwo", "\n", "\n\n", "three\n"],
    "leading and trailing spaces": [" a", "  b", " ", "   ", "c  ", "\n d"],
    "tabs": ["\t", "a\t\tb", "\n\t"],
    "pair of surrogates cut over chunks": ["\ud83d", "\ude00", "a\ud83d", "\ude00b"],
    "pair of surrogates cut around an empty chunk": ["\ud83d", "", "\ude00"],
    "lone surrogates": ["\ud83d", "a", "\ude00", "\ud83d\ud83d", "\ude00\ude00", "x\ud83d"],
    "surrogates the wrong way round": ["\ude00\ud83d", "\ude00", "\ud83d"],
    "emoji and their joiners": ["👩", "\u200d", "👩", "\u200d👧", "🇧", "🇷", "e\u0301"],
    "end mark": ["[DONE]"],
    "end mark on a line": ["a\n[DONE]", "b", "[DONE]\nc"],
    "end mark on every line": ["[DONE]\n[DONE]\n[DONE]"],
    "end mark in spaces": [" [DONE]", "x", "[DONE] ", "x", "\t[DONE]\t"],
    "end mark in two chunks": ["[DO", "NE]", "x", "[", "DONE", "]"],
    "end mark behind a carriage return": ["a\r[DONE]\r", "\n[DONE]", "\r", "[DONE]"],
    "end mark in wide spaces": ["\u00a0[DONE]\u2003", "\ufeff[DONE]", "\u2028[DONE]\u2029"],
    "end mark in a sentence": ["say [DONE] now", "[DONE]."],
    "carriage returns": ["a\rb", "\r", "\r\r", "c"],
    "carriage return and line feed": ["a\r\nb", "\r\n", "\r\n\r\n"],
    "carriage return and line feed cut over chunks": ["a\r", "\nb\r", "", "\n", "\r", "c\r"],
    "NUL": ["\0", "a\0b", "\0\0"],
    "separators that are no line breaks here": ["a\u2028b", "\u2029", "\u0085", "c\v\fd\x1ce"],
    "byte order marks": ["\ufeff", "a\ufeff", "\ufeffb"],
    "event field": ["\n\nevent: x", "\n\nevent: failed\ndata: {}\n\n", "event: end"],
    "data field": ["data: x", "\ndata: y", "\n\ndata: [DONE]\n\n", "data: [DONE]"],
    "comment": [": comment", "\n: comment\n", ":", "\n:"],
    "id field": ["id: 9-9", "\nid: 9-9", "\n\nid: 9-9\n\n", "retry: 1"],
    "empty chunks": ["", "a", "", "", "b", ""],
    "only line breaks": ["\n", "\n\n", "\r", "\n"],
    "only a line break": ["\n"],
    "JSON": ['{"text":"x"}', '"', "\\", "\\n", "\u2028\\u0000"],
    "markup": ["<script>", "</script>", "&amp;", "\x1b[31m", "\x07\x08\x7f"],
}


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("forging")) as there:
        yield there


def assert_nothing_is_forged(stand: Standing, answer: Answer) -> None:
    """Asks through every door and reads with every reader."""
    expected = cleaned([piece for piece in answer.pieces if isinstance(piece, str)])
    text = stand.ask("/api/generate", answer)
    assert stored(stand, text) == expected
    assert simplest_text(text.content) == expected
    assert parsed_text(text.content) == expected
    events = stand.ask("/api/generate", answer, format="events")
    assert stored(stand, events) == expected
    seen = parsed_events(events.content)
    assert text_of(seen) == expected
    assert [event.name for event in seen] == ["start", *["token"] * (len(seen) - 2), "end"]
    assert [event.id for event in seen] == [f"1-{offset}" for offset in range(len(seen))]
    assert seen[-1].data["text_length"] == len(expected)
    whole = stand.ask("/chat", answer)
    assert stored(stand, whole) == expected
    assert whole.json()["text"] == expected


def stored(stand: Standing, response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    kept = stand.generation(response.headers["X-Generation-Id"])
    assert kept["status"] == "completed"
    return kept["text"]


@pytest.mark.parametrize("split_bytes", [None, 1])
@pytest.mark.parametrize("name", NASTY)
def test_both_readers_give_back_exactly_what_was_stored(
    stand: Standing, name: str, split_bytes: int | None
) -> None:
    # Escaped, since half a pair of surrogates has no UTF-8.
    answer = Answer(NASTY[name], escape=True, split_bytes=split_bytes)
    assert_nothing_is_forged(stand, answer)


@pytest.mark.parametrize("split_bytes", [1, 2, 3, 5])
def test_characters_whose_utf8_is_cut_over_the_providers_writes_are_whole(
    stand: Standing, split_bytes: int
) -> None:
    pieces = ["é", "漢字", "😀", "👩\u200d👧", "a\u2028b\u0085", "\ufeff"]
    assert_nothing_is_forged(stand, Answer(pieces, split_bytes=split_bytes))


def test_input_is_cleaned_as_output_is(stand: Standing) -> None:
    prompt = stand.prompt(Answer())
    nasty = "a\r\nb\rc\0d"
    body = {"messages": [{"role": "system", "content": nasty}, {"role": "user", "content": prompt}]}
    assert stand.client.post("/chat", json=body).status_code == 200
    assert stand.provider.asks[-1].body["messages"][0]["content"] == "a\nb\nc\ufffdd"


FRAGMENTS: Final = (
    *("[DONE]", "[DO", "NE]", "[", "]", "\n", "\n\n", "\r", "\r\n", " ", "\t", "\0"),
    *("\u2028", "\u2029", "\u0085", "\v", "\x1c", "\ufeff", "\u00a0", "😀", "\ud83d", "\ude00"),
    *("data: ", "data:", "event: x", "id: 9-9", "retry: 1", ":", "a", "é", '"', "\\", "{}"),
)


@st.composite
def cut_texts(draw: st.DrawFn) -> list[str]:
    """A text rich in what might forge something, cut at arbitrary places."""
    text = "".join(draw(st.lists(st.sampled_from(FRAGMENTS) | st.characters(), max_size=25)))
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@seed(SEED)
@settings(max_examples=60, deadline=None, print_blob=True)
@example(pieces=["\n[DONE]\n", "\r", "[DONE]", "\r", "\n"], split_bytes=None)
@given(pieces=cut_texts(), split_bytes=st.none() | st.integers(1, 40))
def test_arbitrary_text_cut_at_arbitrary_places_forges_nothing(
    stand: Standing, pieces: list[str], split_bytes: int | None
) -> None:
    note(f"again with RUNNEL_TEST_SEED={SEED}")
    assert_nothing_is_forged(stand, Answer(pieces, escape=True, split_bytes=split_bytes))
