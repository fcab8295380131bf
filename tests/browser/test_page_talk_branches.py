"""Other answers, questions in other words, and the steps between the branches that grow of it."""

from collections.abc import Iterator

import pytest
from chromium import Chromium
from front import Front
from playwright.async_api import Route
from talking_page import at_the_page, beside, session_of, shown_branch, stored_branch

from provider import Answer
from standing import Standing


@pytest.fixture
def front(chromium: Chromium, stand: Standing) -> Iterator[Front]:
    stand.provider.release()
    with at_the_page(chromium, stand) as front:
        yield front


def texts(front: Front) -> list[str]:
    return [each["text"] for each in front.messages()]


def test_another_answer_stands_beside_the_first_here_there_and_after_a_reload(
    front: Front, stand: Standing, chromium: Chromium
) -> None:
    answers = iter(["one", "two", "three"])
    prompt = stand.prompt(lambda _: Answer((next(answers),)))
    front.say(prompt)
    front.until_shown("completed", text="one")
    for text in ("two", "three"):
        front.tab.do(front.find("regenerate").last.click())
        front.until_shown("completed", text=text)
    session_id = session_of(front)
    assert front.tab.do(front.find("branches").last.inner_text()).split() == ["3", "of", "3"]

    other = beside(chromium, front)
    other.until_shown("completed", text="three")
    front.tab.do(front.find("branch-previous").last.click())
    front.until_shown("completed", text="two")
    other.until_shown("completed", text="two")
    # The keys go on where the last step has led.
    front.tab.do(front.tab.page.keyboard.press("Enter"))
    front.until_shown("completed", text="one")
    other.until_shown("completed", text="one")
    assert front.tab.do(front.find("branch-previous").last.is_disabled())

    front.tab.do(front.tab.page.reload())
    front.until_shown("completed", text="one")
    assert shown_branch(front) == stored_branch(stand, session_id)


def test_another_answer_is_shown_as_the_first_was(front: Front, stand: Standing) -> None:
    pieces = ("# Head\n\nSome *wo", "rds*, and\n\n- a l", "ist\n- of `two`")
    text = "Head\n\nSome words, and\n\na list\nof two"
    stand.provider.hold()
    front.say(stand.prompt(Answer(pieces, gate_after=1)))

    def html() -> str:
        # In two parts, each of which is shown by itself.
        front.until_shown("running", text="Head\n\nSome *wo")
        stand.provider.release()
        front.until_shown("completed", text=text)
        return front.tab.do(front.find("message").last.inner_html())

    first = html()
    stand.provider.hold()
    front.tab.do(front.find("regenerate").last.click())
    assert html() == first


def test_an_edit_that_is_refused_is_given_back(front: Front, stand: Standing) -> None:
    front.say(stand.prompt(Answer(("one",))))
    front.until_shown("completed")
    front.tab.do(front.find("edit").first.click())
    front.tab.do(front.find("edit-text").fill("x" * 5001))
    front.tab.do(front.find("edit-send").click())
    composer = front.find("composer")
    front.until(lambda: front.tab.do(composer.input_value()) == "x" * 5001)


def test_while_another_answer_waits_to_be_asked_for_the_talk_stays(
    front: Front, stand: Standing
) -> None:
    front.say(stand.prompt(Answer(("one",))))
    front.until_shown("completed")
    session_of(front)

    async def away(route: Route) -> None:
        headers = {"Retry-After": "60"}
        await route.fulfill(status=503, json={"code": "overloaded"}, headers=headers)

    front.tab.do(front.tab.page.route("**/regenerate", away))
    front.tab.do(front.find("regenerate").last.click())
    front.tab.do(front.find("drop").wait_for())
    front.tab.do(front.tab.page.reload())
    front.tab.do(front.find("drop").wait_for())
    front.until(lambda: [each["text"] for each in front.messages()][1:] == ["one", ""])
    front.tab.do(front.find("drop").click())
    front.until_shown("completed", text="one")


def test_a_question_in_other_words_grows_a_branch_and_loses_none(
    front: Front, stand: Standing, chromium: Chromium
) -> None:
    first, second = stand.prompt(Answer(("first",))), stand.prompt(Answer(("second",)))
    later = stand.prompt(Answer(("later",)))
    front.say(first)
    front.until_shown("completed", text="first")
    front.say(later)
    front.until_shown("completed", 4, text="later")
    other = beside(chromium, front)
    other.until_shown("completed", 4)

    front.tab.do(front.find("edit").first.click())
    editor = front.find("edit-text")
    assert front.tab.do(editor.input_value()) == first
    front.tab.do(editor.fill(second))
    front.tab.do(front.find("edit-send").click())
    front.until_shown("completed", text="second")
    assert texts(front) == [second, "second"]
    other.until_shown("completed", text="second")

    front.tab.do(front.find("branch-previous").first.click())
    front.until_shown("completed", 4, text="later")
    assert texts(front) == [first, "first", later, "later"]
    other.until_shown("completed", 4, text="later")
    assert shown_branch(other) == stored_branch(stand, session_of(front))


def test_an_edit_that_is_called_off_leaves_all_as_it_was(front: Front, stand: Standing) -> None:
    prompt = stand.prompt(Answer(("as it was",)))
    front.say(prompt)
    front.until_shown("completed")
    front.tab.do(front.find("edit").click())
    front.tab.do(front.find("edit-text").fill("something else"))
    front.tab.do(front.find("edit-text").press("Escape"))
    assert front.tab.do(front.find("edit-text").count()) == 0
    assert texts(front) == [prompt, "as it was"]
    assert len(stand.provider.asks) > 0


def test_nothing_can_be_asked_anew_while_an_answer_is_made(front: Front, stand: Standing) -> None:
    front.say(stand.prompt(Answer(("before",))))
    front.until_shown("completed")
    stand.provider.hold()
    front.say(stand.prompt(Answer(("now", " then"), gate_after=1)))
    front.until_shown("running", 4, text="now")
    assert front.tab.do(front.find("regenerate").first.is_disabled())
    assert front.tab.do(front.find("edit").first.is_disabled())
    stand.provider.release()
    front.until_shown("completed", 4)
    assert front.tab.do(front.find("regenerate").first.is_enabled())
