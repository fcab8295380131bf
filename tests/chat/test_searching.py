"""What a search means, and what is shown of what was found: safe HTML, a piece of the text."""

import html
import re
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel.chat.sessions.searching import QUERY_CHARACTERS, QUERY_WORDS, Term, parse_query
from runnel.chat.sessions.snippets import SNIPPET_CHARACTERS, Found, snippet
from runnel.chat.sessions.words import words
from runnel.errors import Code, RunnelError

PIECES: Final = st.lists(
    st.sampled_from(
        [
            "<mark>",
            "</mark>",
            "<script>alert(1)</script>",
            "&amp;",
            "&lt;",
            "\n\n",
            "東京",
            "coração",
            "a",
            "words",
            "\"'",
            " ",
            "…",
            "😀",
            "x" * 200,
        ]
    )
    | st.text(max_size=8),
    max_size=80,
).map(" ".join)


def begins(*words: str) -> Term:
    return Term(words, open=True)


def whole(*words: str) -> Term:
    return Term(words, open=False)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("Olá mundo", [begins("ola"), begins("mundo")]),
        ('"Olá mundo" cão', [whole("ola", "mundo"), begins("cao")]),
        ("“smart quotes” «guillemets»", [whole("smart", "quotes"), whole("guillemets")]),
        ("2026-11-27", [begins("2026", "11", "27")]),
        ("don't", [whole("don", "t")]),
        ("a I", [whole("a"), whole("i")]),
        ("東京", [whole("東", "京")]),
        ("東京tower", [begins("東", "京", "tower")]),
        ("word word WORD", [begins("word")]),
        ('unbalanced "quote', [begins("unbalanced"), begins("quote")]),
        ("foo* -bar +baz ^qux", [begins("foo"), begins("bar"), begins("baz"), begins("qux")]),
        ("foo AND NOT bar", [begins("foo"), begins("and"), begins("not"), begins("bar")]),
        ("words:foo", [begins("words", "foo")]),
        ("(foo | bar) & !baz <-> :*", [begins("foo"), begins("bar"), begins("baz")]),
        ("NEAR(ab cd, 2)", [begins("near", "ab"), begins("cd"), whole("2")]),
        ("it's 100%_sure\\ \0 ; --", [whole("it", "s"), begins("100", "sure")]),
        ("", []),
        ('"" " " … ()', []),
    ],
)
def test_only_words_and_quotes_mean_something(text: str, terms: list[Term]) -> None:
    assert list(parse_query(text).terms) == terms


@pytest.mark.parametrize(
    "text", ["x" * (QUERY_CHARACTERS + 1), "w " * (QUERY_WORDS + 1), "東" * (QUERY_WORDS + 1)]
)
def test_what_is_too_long_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(RunnelError) as refused:
        parse_query(text)
    assert (refused.value.code, refused.value.field) == (Code.INVALID_REQUEST, "q")


def test_as_much_as_is_allowed_is_searched_for() -> None:
    assert len(parse_query(" ".join(f"w{n}" for n in range(QUERY_WORDS))).terms) == QUERY_WORDS


def shown(text: str, query: str, **cut: bool) -> str:
    return snippet(Found(text, **cut), parse_query(query))


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("O coração bate.", "coracao", "O <mark>coração</mark> bate."),
        ("o coracao bate", "CORAÇÃO", "o <mark>coracao</mark> bate"),
        ("two\n\n  lines", "lines", "two <mark>lines</mark>"),
        ("Strasse Straße", "straße", "<mark>Strasse</mark> <mark>Straße</mark>"),
        ("cats and a cat", '"cat"', "cats and a <mark>cat</mark>"),
        ("a red car, red bus", '"red bus"', "a red car, <mark>red</mark> <mark>bus</mark>"),
        ("私は東京都に住む", "東京", "私は<mark>東京</mark>都に住む"),
        ('<b>bold</b> & "q"', "bold", "&lt;b&gt;<mark>bold</mark>&lt;/b&gt; &amp; &quot;q&quot;"),
        ("<mark>x</mark>", "mark", "&lt;<mark>mark</mark>&gt;x&lt;/<mark>mark</mark>&gt;"),
    ],
)
def test_what_was_found_is_marked_as_it_was_written(text: str, query: str, expected: str) -> None:
    assert shown(text, query) == expected


def test_of_a_long_text_the_place_is_shown_where_most_terms_are() -> None:
    text = f"alpha {'filler ' * 100} alpha beta {'filler ' * 100}"
    found = shown(text, "alpha beta")
    assert "<mark>alpha</mark> <mark>beta</mark>" in found
    assert found.startswith("…filler")
    assert found.endswith("filler…")


def test_a_piece_of_a_text_says_so() -> None:
    assert shown("a word", "word", cut_before=True, cut_after=True) == "…a <mark>word</mark>…"


def test_a_word_without_an_end_is_cut() -> None:
    found = shown(f"see {'x' * 100_000}", "x" * 50)
    assert len(found) < SNIPPET_CHARACTERS + len("see <mark></mark>…")
    assert found.endswith("x</mark>…")


@given(PIECES, PIECES)
def test_a_snippet_is_a_piece_of_the_text_in_safe_html(text: str, query: str) -> None:
    terms = parse_query(" ".join(query.split()[:3])[:200])
    found = snippet(Found(text), terms)
    bare = re.sub("</?mark>", "", found)
    assert not set("<>\"'") & set(bare)
    assert (
        found.count("<mark>")
        == found.count("</mark>")
        == len(re.findall("<mark>.+?</mark>", found))
    )
    plain = re.sub(r"\s+", " ", text)
    piece = html.unescape(bare)
    inner = (piece, piece.removeprefix("…"), piece.removesuffix("…"), piece[1:-1])
    assert any(some.strip() in plain for some in inner)


@given(PIECES, st.data())
def test_a_word_of_the_text_is_marked(text: str, data: st.DataObject) -> None:
    here = list(words(text))
    if not here:
        return
    word = data.draw(st.sampled_from(here))
    written = text[word.begin : word.end]
    assert "<mark>" in snippet(Found(text), parse_query(f'"{written}"'))
