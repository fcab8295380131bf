"""What stands around the talk: signing in, the list of sessions, addresses, settings, the account."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from chromium import Chromium
from front import Front
from playwright.async_api import Locator, Route, expect
from talking_page import at_the_page, beside, session_of

from provider import Answer
from standing import Standing, standing
from xss_corpus import XSS_CORPUS

AXE: Final = (
    "axe.run().then(({violations}) => violations.map((v) => [v.impact, v.id, v.nodes[0].html]))"
)
PHONE: Final[dict[str, Any]] = {"viewport": {"width": 320, "height": 640}, "has_touch": True}


@pytest.fixture
def front(chromium: Chromium, stand: Standing) -> Iterator[Front]:
    stand.provider.release()
    with at_the_page(chromium, stand) as front:
        yield front


def titled(stand: Standing, title: str, question: str | None = None) -> str:
    """A session with that title; its id."""
    session = stand.client.post("/api/chat/sessions", json={"title": title}).json()["session_id"]
    if question is not None:
        stand._answers[question] = Answer(("Well.",))
        asked = {"message": question, "session_id": session}
        assert stand.client.post("/chat", json=asked).status_code == 200
    return str(session)


def entry(front: Front, session: str) -> Locator:
    return front.tab.page.locator(f"[data-testid=session][data-session-id='{session}']")


def choose(front: Front, session: str, *names: str) -> None:
    """In the menu of a session in the list."""
    item = front.tab.page.locator("li", has=entry(front, session))
    front.tab.do(item.hover())
    front.tab.do(item.get_by_test_id("session-menu").click())
    for name in names:
        front.tab.do(front.find(name).first.click())


def notes(front: Front) -> str | None:
    return front.tab.do(front.find("notes").text_content())


def test_a_wrong_password_is_told_and_the_right_one_is_kept(
    chromium: Chromium, stand: Standing
) -> None:
    with chromium.tab(f"{stand.server.url}/") as tab:
        front = Front(tab)
        tab.do(front.find("username").fill(stand.user.username))
        tab.do(front.find("password").fill("wrong"))
        tab.do(front.find("sign-in").click())
        alert = tab.page.get_by_role("alert").first
        tab.do(expect(alert).not_to_be_empty())
        assert stand.user.username in tab.do(front.find("username").input_value())
        front.sign_in(stand.user.username, stand.user.password)
        tab.do(tab.page.reload())
        tab.do(front.find("composer").wait_for())
        tab.do(front.find("account").click())
        tab.do(front.find("sign-out").click())
        tab.do(front.find("username").wait_for())
        tab.do(tab.page.reload())
        tab.do(front.find("username").wait_for())
        kept = tab.run("Object.keys(localStorage).filter((key) => /token|queue/.test(key))")
        assert kept == []


def test_an_account_is_offered_to_whoever_may_make_one(
    chromium: Chromium, stand: Standing, migrated: Path, tmp_path: Path
) -> None:
    with chromium.tab(f"{stand.server.url}/") as tab:
        tab.do(Front(tab).find("username").wait_for())
        tab.do(expect(tab.page.get_by_text("Create an account")).to_have_count(0))
    with (
        standing(migrated, tmp_path, registration="open") as open_to_all,
        chromium.tab(f"{open_to_all.server.url}/") as tab,
    ):
        tab.do(tab.page.get_by_text("Create an account").click())
        Front(tab).sign_in("newcomer", "a password of their own")


def test_a_login_that_ended_is_asked_for_again_and_nothing_typed_is_lost(
    chromium: Chromium, stand: Standing
) -> None:
    bea = stand.server.user("bea.of.the.page")
    with chromium.tab(f"{stand.server.url}/") as tab:
        front = Front(tab)
        front.sign_in(bea.username, bea.password)
        tab.do(front.find("composer").fill("half a question"))
        administration = stand.server.server.administration
        stand.server.call(administration.set_password(bea.username, "another password of bea"))
        tab.do(front.find("search").fill("anything"))
        tab.do(front.find("username").wait_for())
        front.sign_in(bea.username, "another password of bea")
        assert tab.do(front.find("composer").input_value()) == "half a question"


def test_a_session_is_renamed_closed_opened_again_taken_along_and_deleted(
    front: Front, stand: Standing
) -> None:
    session = titled(stand, "first title", "a question to take along")
    front.tab.do(front.tab.page.reload())
    front.tab.do(entry(front, session).click())
    front.until_shown("completed")
    choose(front, session, "rename")
    front.tab.do(front.find("title").fill("second title"))
    front.tab.do(front.find("title").press("Enter"))
    shape = f"/api/chat/sessions/{session}"
    front.until(lambda: stand.client.get(shape).json()["title"] == "second title")
    front.tab.do(expect(entry(front, session)).to_contain_text("second title"))
    choose(front, session, "close")
    front.until(lambda: stand.client.get(shape).json()["status"] == "closed")
    front.tab.do(expect(entry(front, session)).to_have_attribute("data-status", "closed"))
    choose(front, session, "reopen")
    front.until(lambda: stand.client.get(shape).json()["status"] != "closed")
    front.tab.do(expect(front.find("composer")).to_be_visible())

    async def export() -> str:
        async with front.tab.page.expect_download() as download:
            await front.find("export-markdown").click()
        return (await (await download.value).path()).read_text(encoding="utf-8")

    choose(front, session)
    assert "a question to take along" in front.tab.do(export())
    choose(front, session, "delete", "confirm")
    front.until(lambda: stand.client.get(shape).status_code == 404)
    front.tab.do(expect(entry(front, session)).to_have_count(0))
    front.tab.do(expect(front.find("message")).to_have_count(0))


def test_what_becomes_of_a_session_elsewhere_is_seen_where_it_is_open(
    front: Front, stand: Standing
) -> None:
    session = titled(stand, "as it was", "a question of elsewhere")
    front.tab.do(front.tab.page.goto(f"{stand.server.url}/?session={session}"))
    front.until_shown("completed")
    # As whoever comes back to the tab does.
    look = "document.dispatchEvent(new Event('visibilitychange'))"
    shape = f"/api/chat/sessions/{session}"
    assert stand.client.patch(shape, json={"title": "as it is"}).status_code == 200
    front.tab.run(look)
    front.tab.do(expect(front.tab.page).to_have_title(re.compile("as it is")))
    front.tab.do(front.find("new-session").click())
    front.tab.do(front.find("composer").fill("another"))
    front.tab.do(entry(front, session).click())
    front.until_shown("completed")
    front.tab.do(front.find("composer").fill("half a question"))
    # What a proxy says while the server starts is none of its words.
    not_found = "**/api/chat/sessions/**"
    seen: list[Route] = []

    async def of_a_proxy(route: Route) -> None:
        await route.fulfill(status=404)
        seen.append(route)

    front.tab.do(front.tab.page.route(not_found, of_a_proxy))
    front.tab.run(look)
    front.until(lambda: seen != [])
    front.tab.run("fetch('/healthz').then(() => null)")
    assert "was deleted" not in (notes(front) or "")
    front.tab.do(front.tab.page.unroute(not_found))
    assert stand.client.delete(f"{shape}?purge=true").status_code == 204
    front.tab.run(look)
    front.until(lambda: "was deleted" in (notes(front) or ""))
    front.until(lambda: front.messages() == [])
    assert "session=" not in front.tab.page.url
    written = front.tab.do(front.find("composer").input_value())
    assert written == "another\n\nhalf a question"


def test_what_is_searched_for_is_found_in_titles_and_messages(
    front: Front, stand: Standing
) -> None:
    by_title = titled(stand, "zebra crossing")
    by_text = titled(stand, "something else", "where do zebras <b>live</b>?")
    other = titled(stand, "of lions")
    front.tab.do(front.find("search").fill("zebra"))
    front.tab.do(expect(entry(front, by_text)).to_be_visible())
    front.tab.do(expect(entry(front, by_title)).to_be_visible())
    front.tab.do(expect(entry(front, other)).to_have_count(0))
    match = entry(front, by_text).get_by_test_id("match")
    assert "<b>live</b>" in (front.tab.do(match.text_content()) or "")
    assert front.tab.do(match.locator("mark").all_text_contents()) == ["zebras"]
    front.tab.do(front.find("search").fill(""))
    front.tab.do(expect(entry(front, other)).to_be_visible())


def test_addresses_lead_to_sessions_and_back(front: Front, stand: Standing) -> None:
    first = titled(stand, "the first", "the first question")
    second = titled(stand, "the second", "the second question")
    page = front.tab.page
    front.tab.do(page.goto(f"{stand.server.url}/?session={first}"))
    front.until(lambda: [m["text"] for m in front.messages()] == ["the first question", "Well."])
    front.tab.do(expect(entry(front, first)).to_have_attribute("aria-current", "page"))
    assert "the first" in front.tab.do(page.title())
    front.tab.do(entry(front, second).click())
    front.until(lambda: [m["text"] for m in front.messages()] == ["the second question", "Well."])
    front.tab.do(page.go_back())
    front.until(lambda: [m["text"] for m in front.messages()] == ["the first question", "Well."])
    front.tab.do(page.go_forward())
    front.until(lambda: [m["text"] for m in front.messages()] == ["the second question", "Well."])
    front.tab.do(front.find("new-session").click())
    front.until(lambda: front.messages() == [])
    foreign = "01a22086-1e17-7317-a332-08cdb0f683b7"
    front.tab.do(page.goto(f"{stand.server.url}/?session={foreign}"))
    front.until(lambda: notes(front))
    front.tab.do(expect(front.find("composer")).to_be_visible())
    assert front.messages() == []


def test_another_tab_sees_what_becomes_of_the_list(
    front: Front, stand: Standing, chromium: Chromium
) -> None:
    other = beside(chromium, front)
    front.say(stand.prompt(Answer(("Well.",))))
    front.until_shown("completed")
    session = session_of(front)
    other.tab.do(expect(entry(other, session)).to_be_visible())
    choose(front, session, "delete", "confirm")
    other.tab.do(expect(entry(other, session)).to_have_count(0))


def test_a_tab_does_not_go_on_as_whoever_signs_in_in_another(
    front: Front, stand: Standing, chromium: Chromium
) -> None:
    session = titled(stand, "of ana")
    front.tab.do(front.tab.page.reload())
    front.tab.do(expect(entry(front, session)).to_be_visible())
    eve = stand.server.user("eve.of.the.page")
    other = beside(chromium, front)
    other.tab.do(other.find("account").click())
    other.tab.do(other.find("sign-out").click())
    other.sign_in(eve.username, eve.password)
    front.tab.do(expect(front.find("account")).to_contain_text(eve.username))
    front.tab.do(expect(entry(front, session)).to_have_count(0))


def test_titles_are_text_whatever_stands_in_them(chromium: Chromium, stand: Standing) -> None:
    mallory = stand.server.user("mallory")
    made = [" ".join(text.split())[:200] for text in XSS_CORPUS]
    for title in made:
        body = {"title": title}
        made_one = stand.client.post("/api/chat/sessions", json=body, headers=mallory.headers)
        assert made_one.status_code == 201
    with chromium.tab(f"{stand.server.url}/") as tab:
        front = Front(tab)
        front.sign_in(mallory.username, mallory.password)
        asked = len(tab.requested)
        front.until(lambda: tab.do(front.find("session").count()) > 20)
        shown = tab.do(front.find("session").all_text_contents())
        assert all(any(title in text for title in made) for text in shown)
        # As the heading and as the tab's own title.
        for link in tab.do(front.find("session").all())[:20]:
            tab.do(link.click())
        tab.do(front.find("search").fill("script"))
        front.until(lambda: len(tab.do(front.find("session").all())) < len(shown))
        host = stand.server.url
        assert [url for url in tab.requested[asked:] if not url.startswith((host, "blob:"))] == []
        assert tab.run("window.pwned") is None
        assert not [text for text in tab.said if "Content Security Policy" in text]


async def _saved_and_gone_to(front: Front) -> None:
    """Until the talk of the session that this makes is read: by then it is what is shown."""
    async with front.tab.page.expect_request(lambda request: "/messages?" in request.url):
        await front.find("save").click()


def test_what_is_set_goes_with_the_next_question(front: Front, stand: Standing) -> None:
    front.tab.do(front.find("settings").click())
    front.tab.do(front.find("system-prompt").fill("Answer like a pirate."))
    front.tab.do(front.find("param-temperature").fill("0.25"))
    front.tab.do(_saved_and_gone_to(front))
    front.tab.do(front.find("settings-dialog").wait_for(state="hidden"))
    # What a session is told makes one, and the page goes to it.
    session = session_of(front)
    front.tab.do(expect(entry(front, session)).to_have_attribute("aria-current", "page"))
    front.say(stand.prompt(Answer(("Arr.",))))
    front.until_shown("completed")
    sent = stand.provider.requests[-1].body
    assert sent["temperature"] == 0.25
    assert {"role": "system", "content": "Answer like a pirate."} in sent["messages"]


def test_the_model_can_be_chosen(front: Front) -> None:
    option = front.find("model").locator("option", has_text="chat/test")
    front.tab.do(expect(option).to_be_attached())


def test_a_phone_has_the_list_in_a_drawer_and_nothing_beside_the_page(
    chromium: Chromium, stand: Standing
) -> None:
    stand.provider.release()
    with at_the_page(chromium, stand, **PHONE) as front:
        session = titled(stand, "in the drawer")
        front.say(stand.prompt(Answer((f"{'long' * 80} word",))))
        front.until_shown("completed")
        wide = "document.documentElement.scrollWidth <= innerWidth"
        assert front.run(wide)
        front.tab.do(expect(entry(front, session)).not_to_be_in_viewport())
        front.tab.do(front.find("open-list").click())
        front.tab.do(expect(entry(front, session)).to_be_in_viewport())
        assert front.run(wide)
        front.tab.do(entry(front, session).click())
        front.tab.do(expect(entry(front, session)).not_to_be_in_viewport())


def test_a_browser_that_speaks_portuguese(chromium: Chromium, stand: Standing) -> None:
    with chromium.tab(f"{stand.server.url}/", locale="pt-BR") as tab:
        front = Front(tab)
        tab.do(expect(front.find("sign-in")).to_have_text("Entrar"))
        assert tab.run("document.documentElement.lang") == "pt-BR"
        front.sign_in(stand.user.username, stand.user.password)
        tab.do(expect(front.find("new-session")).to_contain_text("Nova sessão"))


def test_everything_goes_by_keyboard(chromium: Chromium, stand: Standing) -> None:
    stand.provider.release()
    with chromium.tab(f"{stand.server.url}/") as tab:
        front = Front(tab)
        tab.do(expect(front.find("username")).to_be_focused())
        for key in (*stand.user.username, "Tab", *stand.user.password, "Enter"):
            tab.do(tab.page.keyboard.press("Space" if key == " " else key))
        tab.do(expect(front.find("composer")).to_be_focused())
        tab.do(tab.page.keyboard.type(stand.prompt(Answer(("By keys.",)))))
        tab.do(tab.page.keyboard.press("Enter"))
        front.until_shown("completed", text="By keys.")
        tab.do(expect(front.find("composer")).to_be_focused())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(
    chromium: Chromium, stand: Standing, npm_packages: Path, scheme: str, width: int
) -> None:
    stand.provider.release()
    titled(stand, "one in the list", "a question in it")
    axe = (npm_packages / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
    found: dict[str, list[Any]] = {}
    size = {"width": width, "height": 800}
    with chromium.tab(f"{stand.server.url}/", color_scheme=scheme, viewport=size) as tab:
        front = Front(tab)

        def look(name: str) -> None:
            tab.run(axe)
            found[name] = [each for each in tab.run(AXE) if each[0] in ("serious", "critical")]

        tab.do(front.find("username").wait_for())
        look("signing in")
        front.sign_in(stand.user.username, stand.user.password)
        front.say(stand.prompt(Answer(("Well, **then**.",))))
        front.until_shown("completed")
        look("the talk and the list")
        tab.do(front.find("settings").click())
        tab.do(front.find("system-prompt").wait_for())
        look("settings")
    assert found == {"signing in": [], "the talk and the list": [], "settings": []}
