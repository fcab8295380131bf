"""Files that go with a question: dropped, pasted, chosen; shown, taken away, refused."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from chromium import Chromium
from front import Front
from talking_page import at_the_page, session_of

from given_files import picture
from provider import Answer
from standing import Standing

#: Gives files to an element as the system's clipboard or a drag does.
_GIVE = """
({ kind, files }) => {
  const data = new DataTransfer();
  for (const { name, type, base64 } of files) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    data.items.add(new File([bytes], name, { type }));
  }
  const to = document.querySelector('[data-testid="composer"]');
  const options = { bubbles: true, cancelable: true };
  if (kind === "paste") {
    to.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: data }));
  } else {
    for (const type of ["dragenter", "dragover", "drop"]) {
      document.querySelector(".talk").dispatchEvent(
        new DragEvent(type, { ...options, dataTransfer: data }));
    }
  }
}
"""
PICTURE = {"name": "red.png", "type": "image/png", "bytes": picture(size=(40, 30))}
TABLE = {"name": "cities.csv", "type": "text/csv", "bytes": b"city,river\nBelem,Guama\n"}


@pytest.fixture
def front(chromium: Chromium, stand: Standing) -> Iterator[Front]:
    stand.provider.release()
    with at_the_page(chromium, stand) as front:
        yield front


def give(front: Front, kind: str, *files: dict[str, Any]) -> None:
    given = [
        {"name": file["name"], "type": file["type"], "base64": _encoded(file["bytes"])}
        for file in files
    ]
    front.run(_GIVE, {"kind": kind, "files": given})


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def until_ready(front: Front, count: int) -> None:
    chosen = front.find("chosen-file").and_(front.tab.page.locator("[data-state=ready]"))
    front.until(lambda: front.tab.do(chosen.count()) == count)


def answering(stand: Standing) -> tuple[str, list[Any]]:
    """A question, and what the provider is then given as its content."""
    contents: list[Any] = []
    question = "What is in it?"

    def answer(ask: dict[str, Any]) -> Answer:
        contents.append(ask["messages"][-1]["content"])
        return Answer(("Something.",))

    stand.provider.answer("test", answer)
    return question, contents


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_files_go_with_the_question_and_stay_with_its_message(
    front: Front, stand: Standing, kind: str
) -> None:
    question, contents = answering(stand)
    give(front, kind, TABLE)
    until_ready(front, 1)
    front.say(question)
    front.until_shown("completed")
    assert front.tab.do(front.find("chosen-file").count()) == 0
    assert "Guama" in str(contents[0])
    shown = front.find("attachment")
    assert "cities.csv" in front.tab.do(shown.inner_text())
    session_of(front)
    front.tab.do(front.tab.page.reload())
    front.until_shown("completed")
    assert "cities.csv" in front.tab.do(shown.inner_text())

    async def saved() -> bytes:
        async with front.tab.page.expect_download() as downloading:
            await shown.click()
        path = await (await downloading.value).path()
        return path.read_bytes()

    assert front.tab.do(saved()) == TABLE["bytes"]


def test_a_picture_is_shown_small_before_and_with_its_message(
    front: Front, stand: Standing
) -> None:
    give(front, "drop", PICTURE)
    until_ready(front, 1)
    small = front.find("chosen-file").locator("img")
    front.until(lambda: front.tab.do(small.evaluate("img => img.naturalWidth")) == 40)
    question, _ = answering(stand)
    front.say(question)
    front.tab.do(front.find("attachment").locator("img").wait_for())
    big = front.find("attachment").locator("img")
    front.until(lambda: front.tab.do(big.evaluate("img => img.naturalWidth")) == 40)
    assert front.tab.do(big.get_attribute("alt")) == "red.png"


def test_a_file_that_is_taken_away_again_does_not_go(front: Front, stand: Standing) -> None:
    question, contents = answering(stand)
    give(front, "drop", TABLE, {**TABLE, "name": "more.csv"})
    until_ready(front, 2)
    front.tab.do(front.tab.page.get_by_role("button", name="Remove cities.csv").click())
    until_ready(front, 1)
    front.say(question)
    front.until_shown("completed")
    assert "more.csv" in str(contents[0])
    assert "cities.csv" not in str(contents[0])


def test_what_cannot_be_attached_is_told_and_does_not_go(front: Front) -> None:
    program = {"name": "program.exe", "type": "application/octet-stream", "bytes": b"MZ\0\1\2\3"}
    give(front, "drop", program)
    failed = front.find("chosen-file").and_(front.tab.page.locator("[data-state=failed]"))
    front.tab.do(failed.wait_for())
    front.tab.do(failed.get_by_role("status").get_by_text("cannot").wait_for())


def test_files_of_a_draft_are_there_again_after_a_reload(front: Front) -> None:
    give(front, "drop", TABLE)
    until_ready(front, 1)
    front.tab.do(front.tab.page.reload())
    until_ready(front, 1)
