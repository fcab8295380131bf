"""A question asked at any door: the text that is told is the one that is stored, byte for byte."""

from typing import Final

import pytest

from asking_doors import ASKED_AT, asked_at
from provider import Answer
from reading import cleaned
from standing import Standing

pytestmark = pytest.mark.usefixtures("tidy")

#: What dialects and codecs trip over; the first half of a pair may come without the other.
PIECES: Final = (
    *("[DONE]", "\n", "[DONE]\n", "\n\n", "data: x\n", "id: 9-9\n", "\r", "\n", "\r\n", "\r"),
    *("\0", "", " ", "\u2028\u2029\u0085\ufeff", "\ud83d", "\ude00", "\ud83d", "é漢字👩\u200d👧"),
    *('{"type":"end"}', "\x1e\x7f", '"\\', "<b>", "\ude00", " end"),
)
LONG: Final = ["x" * 70_000, "漢😀" * 30_000]


@pytest.mark.parametrize("door", ASKED_AT)
@pytest.mark.parametrize(
    ("pieces", "delay"),
    [(PIECES, 0.0), (PIECES, 0.002), (LONG, 0.0), (["."] * 1000, 0.0), ([], 0.0)],
    ids=["at once", "piece by piece", "long", "many", "nothing"],
)
async def test_what_is_told_is_what_is_stored(
    stand: Standing, door: str, pieces: list[str], delay: float
) -> None:
    stand.provider.release()
    prompt = stand.prompt(Answer(pieces, delay=delay, escape=True))
    heard = await asked_at(stand.server, stand.user, door, prompt, session=_name(prompt))
    assert (heard.end, heard.text) == ("end", cleaned(pieces)), heard.told
    [[content]] = stand.rows(
        "SELECT CAST(content AS BLOB) FROM messages m JOIN generations g ON m.id = g.message_id"  # noqa: S608 - an id of ours
        f" WHERE g.id = '{heard.generation_id}'"
    )
    assert content == heard.text.encode()
    assert [ask.body["messages"][-1]["content"] for ask in stand.provider.asks].count(prompt) == 1


@pytest.mark.parametrize("door", ASKED_AT)
async def test_a_question_is_cleaned_alike(stand: Standing, door: str) -> None:
    """All who hear of it, the model and the row have the same text."""
    stand.provider.release()
    session = f"cleaned-{door.replace(' ', '-')}"
    asked, clean = f"{door}:\r\nwhy\r\0?\ud83d", f"{door}:\nwhy\n\ufffd?\ufffd"
    stand._answers[clean] = Answer(["well"])
    heard = await asked_at(stand.server, stand.user, door, asked, session=session)
    assert heard.end == "end", heard
    assert stand.provider.asks[-1].body["messages"][-1]["content"] == clean
    stored = "SELECT content FROM messages m JOIN generations g ON m.id = user_message_id"
    assert stand.rows(f"{stored} WHERE g.id = '{heard.generation_id}'") == [(clean,)]
    said = [f["message"]["content"] for f in heard.frames if f.get("type") == "message"]
    assert said[:1] == [clean] * (door == "ws user")


def _name(prompt: str) -> str:
    return prompt.replace(" ", "-")
