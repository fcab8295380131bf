"""Words of a text: the same however it is accented, cased or composed; none is lost."""

import unicodedata
from itertools import pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnel.chat.sessions.passages import (
    OVERLAP_WORDS,
    PASSAGE_WORDS,
    SAME_WORD,
    SEARCHED_CHARACTERS,
    passages,
)
from runnel.chat.sessions.words import WORD_CHARACTERS, fold, words

TEXTS: Final = st.lists(
    st.sampled_from(
        [*"aAéß_İ1²½東カｶﾞンที่ นี ﬁ'-\n\"", "e\u0301", "\u00ad", "\u200d", "한", "ό", "😀", "َ", "हिं"]
    )
    | st.characters(),
    max_size=60,
).map("".join)


def said(text: str) -> list[str]:
    return [word.text for word in words(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", "hello world"),
        ("coração Coração CORAC\u0327A\u0303O", "coracao coracao coracao"),
        ("Straße STRASSE ẞ", "strasse strasse ss"),
        ("İstanbul ISTANBUL ısı", "istanbul istanbul isi"),
        ("Ὀδυσσεύς ΟΔΥΣΣΕΎΣ", "οδυσσευσ οδυσσευσ"),
        ("ﬁnance oﬃce", "finance office"),
        ("Łódź Ørsted Æther þú", "lodz orsted aether thu"),
        ("Ｆｕｌｌ ｗｉｄｔｈ １２", "full width 12"),
        ("x² ½ ⅷ", "x2 12 viii"),
        ("Привет Ёлка", "привет елка"),
        ("don't l’été", "don t l ete"),
        ("snake_case __init__", "snake case init"),
        ("10.5 2026-11-27 v2", "10 5 2026 11 27 v2"),
        ("na\u00adïve", "naive"),
        ("東京タワー", "東 京 タ ワ ー"),
        ("カガ ｶｶﾞ", "カ カ\u3099 カ カ\u3099"),
        ("東京tower2", "東 京 tower2"),
        ("ที่นี่ น้ำ", "ที นี น ำ"),
        ("한국어", unicodedata.normalize("NFKD", "한국어")),
        ("हिन्दी", "हिन्दी"),
        ("هَذَا", "هذا"),
        ("می\u200cخواهم", "میخواهم"),
        ("👩\u200d💻 1\ufe0f\u20e3 ❤\ufe0f ok", "1 ok"),
        ("", ""),
        ("… -- ' \" ( ) * ̀", ""),
        ("a\0b\ufffdc", "a b c"),
    ],
)
def test_words_are_folded_and_cut_where_the_script_does(text: str, expected: str) -> None:
    assert said(text) == expected.split()


def test_of_a_very_long_word_its_beginning_counts() -> None:
    assert said(f"{'x' * 300_000} y") == ["x" * WORD_CHARACTERS, "y"]
    assert said(f"{'é' * 300_000} y") == ["e" * WORD_CHARACTERS, "y"]


def test_every_character_folds_to_what_is_folded_already() -> None:
    letters = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code))[0] in "LMN"]
    assert fold(fold("".join(letters))) == fold("".join(letters))
    odd = [letter for letter in letters if unicodedata.normalize("NFKD", letter) != letter]
    for letter in odd:
        for word in said(f"a{letter}b"):
            assert said(word) == [word], letter


@given(TEXTS)
def test_a_word_is_a_word_again_and_stands_where_it_says(text: str) -> None:
    found = list(words(text))
    assert said(" ".join(said(text))) == [word.text for word in found]
    for word in found:
        assert said(text[word.begin : word.end]) == [word.text]
    places = [place for word in found for place in (word.begin, word.end)]
    assert places == sorted(places)


@given(TEXTS)
def test_composed_and_decomposed_text_have_the_same_words(text: str) -> None:
    assert said(unicodedata.normalize("NFC", text)) == said(unicodedata.normalize("NFD", text))


@given(TEXTS)
def test_no_index_has_to_quote_a_word(text: str) -> None:
    for word in said(text):
        assert all(not character.isascii() or character.isalnum() for character in word)
        assert not any(character.isspace() for character in word)


def test_a_short_text_is_one_passage_and_one_without_words_none() -> None:
    [passage] = passages("  Uma frase. ")
    assert (passage.words, passage.begin, passage.end) == (["uma", "frase"], 0, 13)
    assert passages("") == passages("… !") == []


def test_a_long_text_is_cut_into_passages_that_overlap() -> None:
    text = " ".join(f"w{number}" for number in range(10_000))
    cut = passages(text)
    assert [len(passage.words) for passage in cut] == [PASSAGE_WORDS, PASSAGE_WORDS, 2062]
    for before, after in pairwise(cut):
        assert before.words[-OVERLAP_WORDS:] == after.words[:OVERLAP_WORDS]
    for passage in cut:
        assert said(text[passage.begin : passage.end]) == passage.words


def test_a_word_stands_in_a_passage_only_as_often_as_an_index_keeps_its_places() -> None:
    cut = passages("a b " * 1000 + "c")
    for passage in cut:
        assert max(passage.words.count(word) for word in "ab") <= SAME_WORD
    assert cut[-1].words[-1] == "c"


@given(st.text("aB1 .'", max_size=9), st.sampled_from([1, 2, 84, 85, 254, 255, 256, 2_000, 4_001]))
def test_text_in_ascii_is_cut_as_any_other(text: str, times: int) -> None:
    plain = "".join(f"{text} {number % 999} " for number in range(times))
    cut, other = passages(plain), passages(f"{plain}…")
    assert [(one.words, one.begin) for one in cut] == [(one.words, one.begin) for one in other]
    assert cut[-1].end == other[-1].end - 1 == len(plain)


def test_of_a_very_long_text_the_beginning_is_searched() -> None:
    text = "ab " * (SEARCHED_CHARACTERS // 3) + " behind"
    assert "behind" not in {word for passage in passages(text) for word in passage.words}


@given(TEXTS, st.integers(1, 300))
def test_passages_hold_all_words_in_order(text: str, times: int) -> None:
    whole = said(f"{text} " * times)
    joined: list[str] = []
    for number, passage in enumerate(passages(f"{text} " * times)):
        joined += passage.words[OVERLAP_WORDS if number else 0 :]
    assert joined == whole
