"""What of attachments the model is given, as far as its budget goes."""

import io
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runnel.chat.attachments import contents as bounds
from runnel.chat.attachments.contents import Contents, contents_of
from runnel.chat.attachments.room import image_tokens
from runnel.chat.entities import Attachment, Context, Image, Turn
from runnel.chat.prompt import Prompt, fit
from runnel.files.folder import Folder
from runnel.store.ids import new_id

NOW = datetime.now(UTC)


def document(name: str, characters: int) -> Attachment:
    return Attachment(name, name, "text/plain", characters, None, None, characters, NOW)


def picture(name: str, size: tuple[int, int] = (75, 10), *, size_bytes: int = 10) -> Attachment:
    return Attachment(name, name, "image/png", size_bytes, *size, None, NOW)


def U(text: str, *attached: Attachment) -> Turn:  # noqa: N802 - turns are read at a glance so
    return Turn("user", text, attachments=attached)


def fitted(turns: list[Turn], max_tokens: int, **more: Any) -> Prompt:
    """With the documents' texts as long as they are said to be, and every picture."""
    attached = [each for turn in turns for each in turn.attachments]
    contents = Contents(
        texts={each.id: "x" * (each.characters or 0) for each in attached if not each.is_image},
        images={each.id: f"data:{each.id}" for each in attached if each.is_image},
    )
    given: dict[str, Any] = {"contents": contents, "images": True, **more}
    return fit(turns, system_prompt=None, max_tokens=max_tokens, **given)


def context(prompt: Prompt) -> Context:
    assert prompt.context is not None
    return prompt.context


def test_what_fits_is_given_whole() -> None:
    prompt = fitted([U("one", document("a", 400)), Turn("assistant", "two"), U("three")], 1000)
    assert prompt.turns[0].text == f'<attachment name="a">\n{"x" * 400}\n</attachment>\n\none'
    assert context(prompt) == Context(3, 0, 0, 0)
    assert all(not turn.attachments for turn in prompt.turns)


def test_a_document_is_cut_to_what_room_there_is_and_says_so() -> None:
    prompt = fitted([U("why?", document("a", 100_000))], 1000)
    [turn] = prompt.turns
    assert "of 100000 characters are shown.]\n</attachment>\n\nwhy?" in turn.text
    assert 900 < prompt.tokens <= 1000
    assert len(turn.text) > 3500
    assert context(prompt) == Context(1, 0, 1, 0)


def test_a_cut_never_splits_a_character() -> None:
    file = document("a", 10_000)
    for tokens in range(200, 210):
        prompt = fitted([U("?", file)], tokens, contents=Contents({"a": "é€😀" * 3333}))
        assert prompt.tokens <= tokens
        assert "\ufffd" not in prompt.turns[0].text


def test_the_questions_own_attachments_go_before_older_talk() -> None:
    turns = [U("old " * 100), Turn("assistant", "older"), U("new", document("a", 100_000))]
    prompt = fitted(turns, 500)
    assert len(prompt.turns) == 1
    assert context(prompt) == Context(1, 2, 1, 0)


def test_newer_documents_have_room_before_older_ones() -> None:
    turns = [U("1", document("old", 4000)), Turn("assistant", "2"), U("3", document("new", 2000))]
    prompt = fitted(turns, 800)
    assert "x" * 2000 in prompt.turns[-1].text
    assert "characters are shown" in prompt.turns[0].text
    assert context(prompt) == Context(3, 0, 1, 0)


def test_what_has_no_room_at_all_is_left_out_and_counted() -> None:
    turns = [
        U("1", document("a", 4000), picture("b", (750, 100))),
        Turn("assistant", "2" * 400),
        U("3"),
    ]
    prompt = fitted(turns, 130)
    assert [turn.text for turn in prompt.turns] == ["1", "2" * 400, "3"]
    assert context(prompt) == Context(3, 0, 0, 2)
    assert context(fitted(turns, 110)) == Context(2, 1, 0, 2)


def test_the_question_stays_without_its_attachments_if_it_alone_is_too_long() -> None:
    prompt = fitted([U("c" * 4000, document("a", 400), picture("b"))], 10)
    assert [turn.text for turn in prompt.turns] == ["c" * 4000]
    assert context(prompt) == Context(1, 0, 0, 2)


def test_pictures_are_given_whole_or_not_at_all() -> None:
    large = picture("large", (1568, 1568))
    turn = U("?", large, picture("small"))
    assert fitted([turn], 5000).turns[0].parts == [Image("data:large"), Image("data:small"), "?"]
    prompt = fitted([turn], 100)
    assert prompt.turns[0].parts == [Image("data:small"), "?"]
    assert context(prompt) == Context(1, 0, 0, 1)


def test_a_model_that_takes_no_pictures_is_given_none() -> None:
    prompt = fitted([U("1", picture("a")), Turn("assistant", "2"), U("3")], 1000, images=False)
    assert [turn.parts for turn in prompt.turns] == [(), (), ()]
    assert context(prompt) == Context(3, 0, 0, 1)


def test_messages_that_were_not_even_read_are_left_out_too() -> None:
    assert context(fitted([U("?")], 100, beyond=7)) == Context(1, 7, 0, 0)


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((750, 1), 1), ((200, 300), 80), ((1092, 1092), 1590), ((9999, 9999), 1600)],
)
def test_a_picture_weighs_by_its_size(size: tuple[int, int], tokens: int) -> None:
    assert image_tokens(*size) == tokens


async def test_no_more_is_read_than_there_may_be_room_for(tmp_path: Path) -> None:
    files = Folder(tmp_path)
    old, new = [replace(document("", 1000), id=new_id()) for _ in range(2)]
    for each in (old, new):
        await files.write(each.id, io.BytesIO(b"y"), "y" * 1000)
    turns = [U("1", old), U("2", new)]
    read = await contents_of(files, turns, most_characters=1500, images=True)
    assert read.texts == {new.id: "y" * 1000, old.id: "y" * 500}
    read = await contents_of(files, turns, most_characters=1000, images=True)
    assert read.texts == {new.id: "y" * 1000}


async def test_the_newest_pictures_are_read_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_IMAGE_BYTES", 25)
    files = Folder(tmp_path)
    pictures = [replace(picture("", (1, 1)), id=new_id()) for _ in range(3)]
    for each in pictures:
        await files.write(each.id, io.BytesIO(b"0123456789"), None)
    turns = [U("?", each) for each in pictures]
    read = await contents_of(files, turns, most_characters=10, images=True)
    assert set(read.images) == {each.id for each in pictures[1:]}
    assert not (await contents_of(files, turns, most_characters=10, images=False)).images


async def test_what_is_not_there_is_passed_over(tmp_path: Path) -> None:
    gone = replace(document("", 10), id=new_id())
    lost = replace(picture(""), id=new_id())
    read = await contents_of(
        Folder(tmp_path), [U("?", gone, lost)], most_characters=99, images=True
    )
    assert (read.texts, read.images) == ({}, {})
