"""Several pages of one browser, and what outlives them: /client.js with a storage."""

from collections.abc import Iterator
from typing import Any

import pytest
from chromium import Chromium, Tab
from client_page import APP, ask, make, over
from test_client_logins import renewals, two_hours_later
from test_client_waiting import Network, login, questions, waiting

from cutting import Cutting
from provider import Answer
from standing import Standing
from waiting import until


@pytest.fixture
def page(chromium: Chromium, proxy: Cutting) -> Iterator[Tab]:
    with chromium.tab(f"{proxy.url}/", without=APP) as tab:
        yield tab


def keys(page: Tab) -> Any:
    return page.run("Object.keys(localStorage).filter((key) => key.startsWith('runnel.queue'))")


def test_what_waits_in_one_tab_waits_in_the_other_and_is_asked_once(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    login(page, stand)
    with page.beside(f"{proxy.url}/") as other:
        make(other, storage=True)
        text = stand.prompt(Answer(["once"]))
        Network(page).gone()
        ask(page, "one", text, sessionId="tabs")
        other.until_run("client.queue.length === 1")
        assert waiting(other) == [[text, "queued"]]
        other.run("() => { window.two = read(client.queue[0]) }")
        Network(page).back()
        one, two = over(page, "one"), over(other, "two")
    assert one["text"] == two["text"] == "once"
    assert one["generation"] == two["generation"]
    assert questions(stand, text) == [text]
    assert keys(page) == []


def test_what_is_taken_back_in_one_tab_is_sent_by_none(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    login(page, stand)
    with page.beside(f"{proxy.url}/") as other:
        make(other, storage=True)
        text = stand.prompt(Answer(["never"]))
        Network(page).gone()
        ask(page, "one", text)
        other.until_run("client.queue.length === 1")
        other.run("() => { window.two = read(client.queue[0]) }")
        assert page.run("one.answer.cancel()")
        assert over(other, "two")["fault"]["code"] == "cancelled"
        Network(page).back()
        other.until_run("client.state === 'live'")
        other.run("client.me().then(() => null)")
    assert questions(stand, text) == []


def test_a_page_that_is_left_while_it_asks_has_asked(stand: Standing, page: Tab) -> None:
    """Before it is known whether the server has it."""
    login(page, stand)
    text = stand.prompt(Answer(["kept"]))
    page.run("() => { client._options.fetch = () => new Promise(() => {}) }")
    ask(page, "one", text)
    page.do(page.page.reload())
    make(page, storage=True)
    until(lambda: questions(stand, text) == [text])
    page.until_run("client.queue.length === 0")
    assert keys(page) == []


def test_a_question_is_never_anothers(stand: Standing, page: Tab) -> None:
    """Neither is it lost: its own user's next page sends it."""
    login(page, stand)
    text = stand.prompt(Answer(["mine"]))
    page.run("() => { client._options.fetch = () => Promise.reject(new TypeError('gone')) }")
    ask(page, "one", text)
    page.until_run("one.answer.status === 'queued'")
    bea = stand.server.user("bea")
    page.do(page.page.reload())
    page.run("() => { localStorage.removeItem('runnel.tokens') }")
    make(page, storage=True)
    page.run("(user) => client.login(...user)", [bea.username, bea.password])
    page.run("client.me().then(() => null)")
    assert (waiting(page), questions(stand, text)) == ([], [])
    page.run("(user) => client.login(...user)", [stand.user.username, stand.user.password])
    until(lambda: questions(stand, text) == [text])
    own = stand.client.get("/api/chat/sessions", params={"limit": 1}).json()["sessions"][0]
    told = stand.client.get(f"/api/chat/sessions/{own['session_id']}/messages").json()["messages"]
    assert told[0]["content"] == text


def test_what_waits_for_a_sign_in_asks_nothing_meanwhile(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    login(page, stand)
    text = stand.prompt(Answer(["after"]))
    page.run(
        """() => {
          window.gone = true;
          client._options.fetch = (...all) =>
            window.gone ? Promise.reject(new TypeError("gone")) : fetch(...all);
        }"""
    )
    ask(page, "one", text)
    page.until_run("one.answer.status === 'queued'")
    administration = stand.server.server.administration
    stand.server.call(administration.set_password(stand.user.username, stand.user.password))
    page.run(
        "() => { client.addEventListener('signedout', () => { window.out = true }); gone = false; }"
    )
    page.until_run("window.out")
    asked = len(proxy.asked("/chat", "POST"))
    page.run("() => { window.dispatchEvent(new Event('online')) }")
    page.run("fetch('/healthz').then(() => null)")
    assert len(proxy.asked("/chat", "POST")) == asked
    assert waiting(page) == [[text, "queued"]]
    page.run("(user) => client.login(...user)", [stand.user.username, stand.user.password])
    assert over(page, "one")["text"] == "after"


def test_tokens_that_were_handed_in_are_renewed_though_nothing_was_kept(
    stand: Standing, proxy: Cutting, page: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    login(page, stand)
    pair = page.run("JSON.parse(localStorage.getItem('runnel.tokens'))")
    page.run("() => { localStorage.clear(); localStorage.setItem('runnel.tokens', 'no {json'); }")
    make(page, storage=True, token=pair["token"], refreshToken=pair["refreshToken"])
    two_hours_later(stand, monkeypatch)
    assert page.run("client.me().then((me) => me.username)") == stand.user.username
    assert renewals(proxy) == 1
    page.run("() => { localStorage.setItem('runnel.queue..x', 'no {json') }")
    make(page, storage=True)
    assert page.run("client.me().then((me) => me.username)") == stand.user.username


def test_an_older_pair_in_the_storage_is_not_taken_for_a_newer_one(
    stand: Standing, page: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the storage takes nothing any more: used twice, a refresh token ends the login."""
    login(page, stand)
    page.run("() => { Storage.prototype.setItem = () => { throw new Error('full') } }")
    page.run("client.refresh()")
    two_hours_later(stand, monkeypatch)
    assert page.run("client.me().then((me) => me.username)") == stand.user.username
