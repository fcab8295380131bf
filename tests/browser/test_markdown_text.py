"""What an answer looks like does not depend on how it came, and plain text is shown as it is."""

import random
from collections.abc import Iterator

import pytest
from answers_to_cut import TEXT
from chromium import Chromium
from markdown_texts import MARKED_UP, PLAIN
from shown_answer import Shown, shown

from standing import Standing


@pytest.fixture(scope="module")
def page(chromium: Chromium, stand: Standing) -> Iterator[Shown]:
    with shown(chromium, stand.server.url) as there:
        yield there
        assert there.run("violations") == []


def pieces_of(text: str, chance: random.Random, longest: int) -> list[str]:
    # As they come from the server: no character is cut in half.
    pieces: list[str] = []
    while text:
        length = chance.randint(1, longest)
        pieces.append(text[:length])
        text = text[length:]
    return pieces


@pytest.mark.parametrize("text", [*PLAIN, *MARKED_UP], ids=lambda text: repr(text[:20]))
def test_pieces_make_what_the_whole_makes(page: Shown, text: str) -> None:
    whole = page.whole(text)["html"]
    chance = random.Random(text)
    for longest in (1, 3, 20, 400) if len(text) < 2000 else (700,):
        assert page.in_pieces(pieces_of(text, chance, longest)) == whole


def test_texts_in_a_row_in_pieces(page: Shown) -> None:
    chance = random.Random(8)
    for _ in range(40):
        texts = [text for text in (*PLAIN, *MARKED_UP) if len(text) < 400]
        text = chance.choice(["", "\n", "\n\n"]).join(chance.sample(texts, 4))
        assert page.in_pieces(pieces_of(text, chance, 12)) == page.whole(text)["html"], text


@pytest.mark.parametrize("text", [*PLAIN, TEXT], ids=lambda text: repr(text[:20]))
def test_plain_text_is_shown_as_it_is(page: Shown, text: str) -> None:
    assert page.whole(text)["text"] == text


def test_what_is_seen_of_plain_text_is_the_text(page: Shown) -> None:
    for text in ("1\n2\n3", "a\n\nb", "one\ntwo\nthree\n\nfour", "Good  day,\n  all"):
        assert page.whole(text)["inner"] == text


def test_every_beginning_of_plain_text_is_shown(page: Shown) -> None:
    """While it comes, too: before the line is whole."""
    for text in PLAIN:
        if len(text) < 400:
            wrong = page.run(
                "text => { begin(); const wrong = []; let given = '';"
                " for (const piece of text) { given += piece; answer.append(piece); answer.work(Infinity);"
                "   if (element.textContent !== given) wrong.push([given, element.textContent]); }"
                " element.remove(); return wrong; }",
                text,
            )
            assert wrong == []


def test_a_text_that_had_ended_goes_on_in_pieces(page: Shown) -> None:
    """As when an answer is asked for again: what was shown, nothing, had ended."""
    for begun in ("", "# a\n\nb *c"):
        text = f"{begun}*, and\n\n- d\n- e"
        went_on = page.run(
            "async ([begun, pieces]) => { begin().set(begun); answer.end(); await answer.settled;"
            " answer.set(begun); for (const piece of pieces) { answer.append(piece); answer.work(Infinity); }"
            " answer.end(); await answer.settled;"
            " const html = element.innerHTML; element.remove(); return html; }",
            [begun, [*text.removeprefix(begun)]],
        )
        assert went_on == page.whole(text)["html"]


def test_another_text_replaces_what_is_shown(page: Shown) -> None:
    """And one that goes on leaves it alone."""
    page.run("async () => { begin().set('# a\\n\\nb *c'); await answer.settled; }")
    page.run(
        "async () => { first = element.querySelector('h3'); answer.set('# a\\n\\nb *c* d'); await answer.settled; }"
    )
    assert page.run("first === element.querySelector('h3')") is True
    assert page.run("element.textContent") == "a\n\nb c d"
    page.run("async () => { answer.set('other'); answer.end(); await answer.settled; }")
    assert page.run("element.textContent") == "other"
    page.run("async () => { answer.set('other one'); answer.end(); await answer.settled; }")
    assert page.run("element.textContent") == "other one"
