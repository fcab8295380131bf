"""What stands beside the text of a talk, how long talks are shown, and who else can use them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Chromium
from front import Front
from playwright.async_api import Route, expect
from talking_page import at_the_page, session_of

from provider import Answer
from standing import Standing

#: The longest that the page may not answer who uses it, in milliseconds.
LONGEST_TASK = 200
MANY = 3000


@pytest.fixture
def front(chromium: Chromium, stand: Standing) -> Iterator[Front]:
    stand.provider.release()
    with at_the_page(chromium, stand) as front:
        yield front


def pressed(front: Front, *names: str) -> list[str | None]:
    return [front.tab.do(front.find(name).get_attribute("aria-pressed")) for name in names]


def test_what_is_thought_of_an_answer_is_kept_and_taken_back(front: Front, stand: Standing) -> None:
    front.say(stand.prompt(Answer(("Well.",))))
    front.until_shown("completed")
    session_of(front)
    names = ("helpful-yes", "helpful-no", "rating-4")
    assert pressed(front, *names) == ["false", "false", "false"]
    front.tab.do(front.find("helpful-yes").click())
    front.until(lambda: pressed(front, *names) == ["true", "false", "false"])
    front.tab.do(front.find("rating-4").click())
    front.until(lambda: pressed(front, *names) == ["true", "false", "true"])
    front.tab.do(front.tab.page.reload())
    front.until_shown("completed")
    assert pressed(front, *names) == ["true", "false", "true"]
    front.tab.do(front.find("helpful-yes").click())
    front.until(lambda: pressed(front, *names) == ["false", "false", "true"])
    front.tab.do(front.find("rating-4").click())
    front.until(lambda: pressed(front, *names) == ["false", "false", "false"])


def test_what_was_pressed_last_stands_though_what_was_pressed_before_takes_longer(
    front: Front, stand: Standing
) -> None:
    front.say(stand.prompt(Answer(("Well.",))))
    front.until_shown("completed")
    session_of(front)
    held: list[Route] = []

    async def hold_the_first(route: Route) -> None:
        if held:
            await route.continue_()
        held.append(route)

    front.tab.do(front.tab.page.route("**/reaction", hold_the_first))
    front.tab.do(front.find("rating-2").click())
    front.until(lambda: len(held) == 1)
    front.tab.do(front.find("rating-5").click())
    front.tab.do(front.tab.page.evaluate("fetch('/healthz')"))
    front.tab.do(held[0].continue_())
    front.until(lambda: pressed(front, "rating-2", "rating-5") == ["false", "true"])
    front.tab.do(front.tab.page.reload())
    front.until_shown("completed")
    assert pressed(front, "rating-2", "rating-5") == ["false", "true"]


def test_what_an_answer_took_stands_under_it_at_once_and_after_a_reload(
    front: Front, stand: Standing
) -> None:
    front.say(stand.prompt(Answer(("Well.",), usage=(1000, 234))))
    front.until_shown("completed")
    session_of(front)
    for _ in range(2):
        details = front.find("details")
        summary = front.tab.do(details.locator("summary").inner_text())
        assert summary.startswith("chat/test · 1,234 tokens · ")
        front.tab.do(details.locator("summary").click())
        rows = front.tab.do(details.locator("dl").inner_text()).split("\n")
        assert rows[:6] == [
            *("Model", "chat/test"),
            *("Tokens of the question", "1,000"),
            *("Tokens of the answer", "234"),
        ]
        front.tab.do(front.tab.page.reload())
        front.until_shown("completed")


def test_the_source_of_an_answer_is_copied(front: Front, stand: Standing) -> None:
    front.tab.do(front.tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"]))
    front.say(stand.prompt(Answer(("**Well.**",))))
    front.until_shown("completed")
    front.tab.do(front.find("copy").last.click())
    front.until(lambda: front.run("navigator.clipboard.readText()") == "**Well.**")


def test_a_closed_session_takes_no_question_until_it_is_opened_again(
    front: Front, stand: Standing
) -> None:
    front.say(stand.prompt(Answer(("Well.",))))
    front.until_shown("completed")
    session_id = session_of(front)
    assert stand.client.delete(f"/api/chat/sessions/{session_id}").status_code == 200
    front.tab.do(front.find("closed").wait_for())
    assert not front.tab.do(front.find("composer").is_visible())
    front.tab.do(front.find("reopen").click())
    front.say(stand.prompt(Answer(("Again.",))))
    front.until_shown("completed", 4, text="Again.")


def test_a_reader_who_went_up_is_left_there(front: Front, stand: Standing) -> None:
    page = "\n\n".join(f"paragraph {number} " * 20 for number in range(40))
    stand.provider.hold()
    front.say(stand.prompt(Answer((page, page, page), gate_after=1)))
    front.until_shown("running")
    front.tab.do(expect(front.find("message").last).to_contain_text("paragraph 39"))
    log = front.tab.page.get_by_role("log")
    at_the_end = "log => log.scrollHeight - log.scrollTop - log.clientHeight < 2"
    front.until(lambda: front.tab.do(log.evaluate(at_the_end)))
    front.tab.do(log.hover())
    front.tab.do(front.tab.page.mouse.wheel(0, -1000))
    front.tab.do(front.find("newest").wait_for())
    before = front.tab.do(log.evaluate("log => log.scrollTop"))
    stand.provider.release()
    front.until_shown("completed")
    assert front.tab.do(log.evaluate("log => log.scrollTop")) == before
    front.tab.do(front.find("newest").click())
    front.until(lambda: front.tab.do(log.evaluate(at_the_end)))
    front.tab.do(front.find("newest").wait_for(state="hidden"))


def test_a_session_of_thousands_of_messages_does_not_freeze_the_page(
    front: Front, stand: Standing
) -> None:
    roles = ("user", "assistant")
    history = [
        {"role": roles[number % 2], "content": f"message {number}, as **long** as most are " * 5}
        for number in range(MANY)
    ]
    last = stand.prompt(Answer(("The last one.",)))
    asked = {"messages": [*history, {"role": "user", "content": last}]}
    answer = stand.client.post("/chat", json=asked).json()
    watching = """
      window.tasks = [];
      new PerformanceObserver((list) => {
        for (const { duration } of list.getEntries()) window.tasks.push(duration);
      }).observe({ type: "longtask", buffered: true });
    """
    front.tab.do(front.tab.page.add_init_script(watching))
    front.tab.do(front.tab.page.goto(f"{stand.server.url}/?session={answer['session_id']}"))
    # The newest are there first.
    front.tab.do(expect(front.find("message").last).to_have_text("The last one."))
    front.until(lambda: front.tab.do(front.find("message").count()) == MANY + 2)
    shown = front.tab.do(front.find("message").first.text_content())
    assert shown is not None
    assert shown.startswith("message 0, ")
    tasks = sorted(front.run("window.tasks"), reverse=True)
    # A machine that is busy with other tests holds up a task or two.
    assert all(task < LONGEST_TASK for task in tasks[2:]), tasks


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(
    chromium: Chromium, stand: Standing, npm_packages: Path, scheme: str, width: int
) -> None:
    stand.provider.release()
    options: dict[str, Any] = {
        "color_scheme": scheme,
        "viewport": {"width": width, "height": 844},
    }
    with at_the_page(chromium, stand, **options) as front:
        front.say(stand.prompt(Answer(("Well, **then**.",))))
        front.until_shown("completed")
        front.say(stand.prompt(Answer(("Half an",), cut_after=1)))
        front.until_shown("failed", 4)
        front.tab.do(front.find("regenerate").first.click())
        front.until_shown("completed", 2)
        stand.provider.hold()
        front.say(stand.prompt(Answer(("Half", " an"), gate_after=1)))
        front.until_shown("running", 4)
        front.run((npm_packages / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = front.run(
            "axe.run('.talk').then(({ violations }) => violations)"
        )
        stand.provider.release()
        front.until_shown("completed", 4)
    serious = [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert serious == []
