"""A talk whose network breaks, and one that goes on in two places."""

from collections.abc import Iterator

import pytest
from chromium import Chromium
from front import Front
from talking_page import at_the_page, beside, session_of, shown_branch, stored_branch

from cutting import Cutting
from provider import Answer
from standing import Standing

WORDS = ("Hello", " there", ",", " how", " are", " you", "?")


@pytest.fixture
def front(chromium: Chromium, stand: Standing, proxy: Cutting) -> Iterator[Front]:
    """The page, through the network that breaks."""
    stand.provider.release()
    with at_the_page(chromium, stand, proxy.url) as front:
        yield front


def test_an_answer_that_is_cut_again_and_again_is_shown_whole(
    front: Front, stand: Standing, proxy: Cutting
) -> None:
    stand.provider.hold()
    front.say(stand.prompt(Answer(WORDS, gate_after=2)))
    for _ in range(3):
        front.until_shown("running", text="Hello there")
        events = len(proxy.requests)
        proxy.cut_now()
        front.until(lambda before=events: len(proxy.requests) > before)
    stand.provider.release()
    front.until_shown("completed", text="".join(WORDS))
    assert shown_branch(front) == stored_branch(stand, session_of(front))


def test_another_tab_shows_the_question_the_tokens_and_the_end(
    front: Front, stand: Standing, chromium: Chromium
) -> None:
    front.say(stand.prompt(Answer(("before",))))
    front.until_shown("completed")
    session_id = session_of(front)
    other = beside(chromium, front)
    other.until_shown("completed")
    stand.provider.hold()
    front.say(stand.prompt(Answer(WORDS, gate_after=2)))
    front.until_shown("running", 4, text="Hello there")
    other.until_shown("running", 4, text="Hello there")
    stand.provider.release()
    other.until_shown("completed", 4, text="".join(WORDS))
    front.until_shown("completed", 4)
    assert shown_branch(front) == shown_branch(other) == stored_branch(stand, session_id)


def test_what_is_asked_on_another_device_is_shown_and_stopped_from_here(
    front: Front, stand: Standing
) -> None:
    front.say(stand.prompt(Answer(("before",))))
    front.until_shown("completed")
    session_id = session_of(front)
    stand.provider.hold()
    stand.ask("/chat", Answer(WORDS, gate_after=1), session_id=session_id, background=True)
    front.until_shown("running", 4, text="Hello")
    front.tab.do(front.find("stop").click())
    front.until_shown("aborted", 4, text="Hello")
    stand.provider.release()
    assert shown_branch(front) == stored_branch(stand, session_id)


def asked(stand: Standing, prompt: str) -> int:
    """How often the provider was asked it."""
    return sum(ask.body["messages"][-1]["content"] == prompt for ask in stand.provider.asks)


def test_a_question_of_who_is_offline_waits_and_is_sent_once(front: Front, stand: Standing) -> None:
    front.say(stand.prompt(Answer(("before",))))
    front.until_shown("completed")
    session_id = session_of(front)
    context = front.tab.page.context
    front.tab.do(context.set_offline(True))
    prompts = [stand.prompt(Answer((text,))) for text in ("one", "two")]
    for number, prompt in enumerate(prompts):
        front.say(prompt)
        front.until_shown("queued", 3 + number, text=prompt)
    front.tab.do(front.find("stop").wait_for(state="hidden"))
    front.tab.do(context.set_offline(False))
    front.until_shown("completed", 6, text="two")
    assert [asked(stand, prompt) for prompt in prompts] == [1, 1]
    assert shown_branch(front) == stored_branch(stand, session_id)


def test_a_question_that_waits_outlives_a_reload_and_can_be_taken_back(
    front: Front, stand: Standing
) -> None:
    front.say(stand.prompt(Answer(("before",))))
    front.until_shown("completed")
    session_id = session_of(front)
    page = front.tab.page
    front.tab.do(page.route("**/chat", lambda route: route.abort()))
    stays, goes = stand.prompt(Answer(("one",))), stand.prompt(Answer(("two",)))
    front.say(stays)
    front.until_shown("queued", 3, text=stays)
    front.say(goes)
    front.until_shown("queued", 4, text=goes)
    front.tab.do(page.reload())
    front.until_shown("queued", 4, text=goes)
    front.tab.do(front.find("drop").last.click())
    front.until_shown("queued", 3, text=stays)
    assert front.tab.do(front.find("composer").input_value()) == goes
    front.tab.do(page.unroute("**/chat"))
    front.until_shown("completed", 4, text="one")
    assert [asked(stand, prompt) for prompt in (stays, goes)] == [1, 0]
    assert shown_branch(front) == stored_branch(stand, session_id)


def test_questions_of_a_new_session_that_wait_become_one_session(
    front: Front, stand: Standing
) -> None:
    context = front.tab.page.context
    front.tab.do(context.set_offline(True))
    prompts = [stand.prompt(Answer((text,))) for text in ("one", "two")]
    for number, prompt in enumerate(prompts):
        front.say(prompt)
        front.until_shown("queued", 1 + number, text=prompt)
    front.tab.do(context.set_offline(False))
    front.until_shown("completed", 4, text="two")
    assert [asked(stand, prompt) for prompt in prompts] == [1, 1]
    assert shown_branch(front) == stored_branch(stand, session_of(front))
