"""A talk: what is asked, and how its answer is shown, stopped, gone on with and told of."""

from collections.abc import Iterator

import pytest
from chromium import Chromium
from front import Front
from talking_page import at_the_page, session_of, shown_branch, stored_branch

from provider import BEFORE_HEADERS, Answer
from standing import Standing

WORDS = ("Hello", " there", ",", " how", " are", " you", "?")


@pytest.fixture
def front(chromium: Chromium, stand: Standing) -> Iterator[Front]:
    with at_the_page(chromium, stand) as front:
        yield front


@pytest.fixture(autouse=True)
def gate_open(stand: Standing) -> None:
    stand.provider.release()


def begin_to_answer(front: Front, stand: Standing) -> None:
    """The answer stops behind two of its words."""
    stand.provider.hold()
    front.say(stand.prompt(Answer(WORDS, gate_after=2)))
    front.until_shown("running", text="Hello there")


def test_an_answer_is_streamed_to_the_text_that_is_stored(front: Front, stand: Standing) -> None:
    stand.provider.hold()
    prompt = stand.prompt(Answer(WORDS, gate_after=2))
    front.say(prompt)
    front.until_shown("running", text="Hello there")
    assert front.messages()[0] == {"role": "user", "status": "completed", "text": prompt}
    stand.provider.release()
    front.until_shown("completed", text="".join(WORDS))
    assert shown_branch(front) == stored_branch(stand, session_of(front))


def test_an_answer_goes_on_where_it_was_after_a_refresh_in_its_middle(
    front: Front, stand: Standing
) -> None:
    stand.provider.hold()
    front.say(stand.prompt(Answer(WORDS, gate_after=3)))
    front.until_shown("running", text="Hello there,")
    session_id = session_of(front)
    front.tab.do(front.tab.page.reload())
    front.until_shown("running", text="Hello there,")
    stand.provider.release()
    front.until_shown("completed", text="".join(WORDS))
    assert shown_branch(front) == stored_branch(stand, session_id)


@pytest.mark.parametrize(("gate", "text"), [(BEFORE_HEADERS, ""), (2, "Hello there")])
def test_stopping_keeps_what_there_is_be_it_nothing(
    front: Front, stand: Standing, gate: int, text: str
) -> None:
    stand.provider.hold()
    front.say(stand.prompt(Answer(WORDS, gate_after=gate)))
    front.tab.do(front.find("stop").wait_for())
    front.until(lambda: len(front.messages()) == 2 and front.messages()[-1]["text"] == text)
    front.tab.do(front.find("stop").click())
    front.until_shown("aborted", text=text)
    front.tab.do(front.find("stop").wait_for(state="hidden"))
    stand.provider.release()
    assert shown_branch(front) == stored_branch(stand, session_of(front))


def test_what_stands_under_an_answer_that_was_stopped_is_what_stands_there_later(
    front: Front, stand: Standing
) -> None:
    begin_to_answer(front, stand)
    front.tab.do(front.find("stop").click())
    front.until_shown("aborted", text="Hello there")
    stand.provider.release()
    session_of(front)

    def details() -> str:
        return front.tab.do(front.find("details").last.locator("summary").inner_text())

    front.until(lambda: " s" in details())
    at_once = details()
    front.tab.do(front.tab.page.reload())
    front.until_shown("aborted", text="Hello there")
    assert details() == at_once


def test_who_clicks_twice_to_send_stops_nothing(front: Front, stand: Standing) -> None:
    stand.provider.hold()
    front.tab.do(front.find("composer").fill(stand.prompt(Answer(WORDS, gate_after=2))))
    front.tab.do(front.find("send").dblclick(delay=50))
    front.until_shown("running", text="Hello there")
    stand.provider.release()
    front.until_shown("completed", text="".join(WORDS))


def test_a_second_question_waits_for_the_first_of_a_new_session_too(
    front: Front, stand: Standing
) -> None:
    begin_to_answer(front, stand)
    front.say(stand.prompt(Answer(("Second",))))
    front.tab.do(front.find("drop").wait_for())
    stand.provider.release()
    front.until_shown("completed", 4, text="Second")


def test_escape_stops_as_well(front: Front, stand: Standing) -> None:
    stand.provider.hold()
    front.say(stand.prompt(Answer(WORDS, gate_after=1)))
    front.until_shown("running", text="Hello")
    front.tab.do(front.find("composer").press("Escape"))
    front.until_shown("aborted", text="Hello")
    stand.provider.release()


def test_a_failure_is_told_and_tried_again(front: Front, stand: Standing) -> None:
    answers = iter([Answer(("Half an",), cut_after=1), Answer(("All of it",))])
    front.say(stand.prompt(lambda _: next(answers)))
    front.until_shown("failed", text="Half an")
    again = front.find("try-again")
    note = front.tab.do(again.locator("xpath=..").inner_text())
    assert "The model's provider" in note
    session_of(front)
    front.tab.do(front.tab.page.reload())
    front.until_shown("failed", text="Half an")
    assert front.tab.do(again.locator("xpath=..").inner_text()) == note
    front.tab.do(again.click())
    front.until_shown("completed", text="All of it")
    assert front.tab.do(front.find("branches").last.inner_text()).split() == ["2", "of", "2"]


def test_the_enter_key_sends_and_with_shift_begins_a_line(front: Front, stand: Standing) -> None:
    composer = front.find("composer")
    prompt = stand.prompt(Answer(("Two lines",)))
    stand._answers[f"{prompt}\nmore"] = Answer(("Two lines",))  # pyright: ignore[reportPrivateUsage]
    front.tab.do(composer.fill(prompt))
    front.tab.do(composer.press("Shift+Enter"))
    front.tab.do(composer.press_sequentially("more"))
    assert front.messages() == []
    front.tab.do(composer.press("Enter"))
    front.until_shown("completed", text="Two lines")
    assert front.messages()[0]["text"] == f"{prompt}\nmore"
    assert front.tab.do(composer.input_value()) == ""


def test_what_an_input_method_composes_is_not_sent(front: Front) -> None:
    composer = front.find("composer")
    front.tab.do(composer.fill("にほん"))
    enter = {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True}
    front.tab.do(composer.dispatch_event("keydown", enter))
    assert front.messages() == []
    assert front.tab.do(composer.input_value()) == "にほん"


def test_what_was_typed_is_there_again_after_a_reload(front: Front, stand: Standing) -> None:
    front.say(stand.prompt(Answer(WORDS)))
    front.until_shown("completed")
    session_of(front)
    front.tab.do(front.find("composer").fill("not sent yet"))
    front.tab.do(front.tab.page.reload())
    front.until_shown("completed")
    assert front.tab.do(front.find("composer").input_value()) == "not sent yet"


def test_a_refused_question_comes_back_and_it_is_told_why(front: Front) -> None:
    question = "long " * 2000
    front.say(question)
    front.tab.do(front.find("composer-note").get_by_text("too long").wait_for())
    assert front.tab.do(front.find("composer").input_value()) == question
    assert front.messages() == []


@pytest.mark.parametrize(
    "text",
    [
        "<script>window.hurt = 1</script>",
        "<img src=x onerror='window.hurt = 1'>",
        "<b>bold</b> **bold** [link](javascript:window.hurt=1)",
        "<svg onload=window.hurt=1></svg>\n\n    <iframe srcdoc='<script>parent.hurt=1</script>'>",
    ],
)
def test_a_question_is_text_whatever_stands_in_it(front: Front, stand: Standing, text: str) -> None:
    stand._answers[text] = Answer(("Well.",))  # pyright: ignore[reportPrivateUsage]
    front.say(text)
    front.until_shown("completed", text="Well.")
    assert front.messages()[0]["text"] == text
    assert front.tab.do(front.find("message").first.locator("*").count()) == 0
    assert front.run("window.hurt") is None


def test_what_begins_and_ends_is_announced_and_not_each_token(
    front: Front, stand: Standing
) -> None:
    stand.provider.hold()
    front.say(stand.prompt(Answer(WORDS, gate_after=2)))
    announced = front.find("announced")
    front.tab.do(announced.get_by_text("The answer has begun.").wait_for(state="attached"))
    log = front.tab.page.get_by_role("log")
    assert front.tab.do(log.get_attribute("aria-live")) == "off"
    stand.provider.release()
    front.tab.do(announced.get_by_text("The answer is finished.").wait_for(state="attached"))
    articles = log.get_by_role("article")
    names = front.tab.do(articles.evaluate_all("all => all.map(each => each.ariaLabel)"))
    assert names == ["You", "Answer by chat/test"]
