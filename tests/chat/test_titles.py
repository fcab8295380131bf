"""What a session is called by its first question, and what of a model's answer is a title."""

import pytest

from runnel.chat.sessions.titles import MOST_CHARACTERS, title_of, title_said

WORDS = "word " * 40


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("Why is the sky blue?", "Why is the sky blue?"),
        ("\n\n  Why \t is  it?\nAnd more.", "Why is it?"),
        ("---\n***\nOlá, coração", "Olá, coração"),
        ("```python\nprint(1)\n```", "```python"),
        ("a\x07b\u0085c", "a b"),
        (f"{'x' * 80}", "x" * 80),
        (f"{'x' * 81}", "x" * 79 + "…"),
        (f"{'x' * 79} y", "x" * 79 + "…"),
        (WORDS, "word " * 15 + "word…"),
        ("漢" * 200, "漢" * 79 + "…"),
        ("می‌خواهم", "می‌خواهم"),
        ("?!\n…", None),
        ("😀", None),
        ("?\n" * 2048 + "too far down", None),
        ("", None),
    ],
)
def test_the_first_line_with_words_is_the_title(question: str, title: str | None) -> None:
    found = title_of(question)
    assert found == title
    assert found is None or len(found) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    ("answer", "title"),
    [
        ("Blue skies", "Blue skies"),
        ('"Blue skies"', "Blue skies"),
        ("“Céu azul”\n\nI hope this helps!", "Céu azul"),
        ("**Title:** Blue skies", "Blue skies"),
        ("# Title: «Blue skies»", "Blue skies"),
        ("TITLE : Blue", "Blue"),
        ("\n- `Blue`", "Blue"),
        ("Titles of kings", "Titles of kings"),
        ("Learning C#", "Learning C#"),
        ("It's John's", "It's John's"),
        ("Title:", None),
        ('""', None),
        ("", None),
        (WORDS, "word " * 15 + "word…"),
    ],
)
def test_what_models_put_around_a_title_is_no_part_of_it(answer: str, title: str | None) -> None:
    assert title_said(answer) == title
