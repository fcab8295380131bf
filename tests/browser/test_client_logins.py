"""Whoever uses /client.js stays signed in: tokens that run out are renewed, once, and cut nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from answers_to_cut import MIDDLE, PIECES, TEXT, UP_TO_MIDDLE
from chromium import Chromium, Tab
from client_page import APP, ask, assert_once_and_in_order, make, over

from cutting import Cutting
from provider import Answer
from standing import Standing


@pytest.fixture
def page(chromium: Chromium, proxy: Cutting, stand: Standing) -> Iterator[Tab]:
    """A page that has signed in through the network that breaks."""
    with chromium.tab(f"{proxy.url}/", without=APP) as tab:
        make(tab, storage=True)
        tab.run("(user) => client.login(...user)", [stand.user.username, stand.user.password])
        yield tab


def two_hours_later(stand: Standing, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's clock has gone on; the browser's knows nothing of it."""
    parts: Any = stand.server.server.parts

    def later() -> datetime:
        return datetime.now(UTC) + timedelta(hours=2)

    monkeypatch.setattr(parts.tickets._tokens, "_clock", later)
    monkeypatch.setattr(parts.accounts._logins, "_clock", later)


def revoke(stand: Standing) -> None:
    """Ends all logins of the user's, as a change of the password does."""
    administration = stand.server.server.administration
    stand.server.call(administration.set_password(stand.user.username, stand.user.password))


def renewals(proxy: Cutting) -> int:
    return len(proxy.asked("/refresh", "POST"))


@pytest.mark.parametrize("transport", ["fetch", "eventsource", "poll"])
def test_a_token_that_runs_out_in_mid_answer_cuts_nothing(
    stand: Standing,
    proxy: Cutting,
    page: Tab,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
) -> None:
    make(page, storage=True, transports=[transport])
    stand.provider.hold()
    ask(page, "one", stand.prompt(Answer(PIECES, gate_after=MIDDLE)))
    page.run("text => { window.middle = text }", UP_TO_MIDDLE)
    page.until_run("one.answer.text === middle")
    two_hours_later(stand, monkeypatch)
    proxy.cut_now()
    stand.provider.release()
    told = over(page, "one")
    assert (told["text"], told["status"], told["fault"]) == (TEXT, "completed", None)
    assert_once_and_in_order(told)
    assert renewals(proxy) == 1


def test_many_calls_at_once_renew_once(
    stand: Standing, proxy: Cutting, page: Tab, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_hours_later(stand, monkeypatch)
    names = page.run(
        "Promise.all(Array.from({length: 20}, () => client.me().then(m => m.username)))"
    )
    assert names == [stand.user.username] * 20
    assert renewals(proxy) == 1


def test_what_will_run_out_is_renewed_before(stand: Standing, proxy: Cutting, page: Tab) -> None:
    page.run(
        """() => {
          const kept = JSON.parse(localStorage.getItem("runnel.tokens"));
          localStorage.setItem("runnel.tokens", JSON.stringify({...kept, at: Date.now() + 1000}));
        }"""
    )
    make(page, storage=True)
    assert page.run("client.me().then(m => m.username)") == stand.user.username
    assert [head.path for head in proxy.requests[-2:]] == ["/refresh", "/me"]


@pytest.mark.parametrize("locks", [True, False])
def test_two_tabs_that_renew_at_once_both_stay_signed_in(
    stand: Standing,
    proxy: Cutting,
    page: Tab,
    monkeypatch: pytest.MonkeyPatch,
    locks: bool,  # noqa: FBT001 - a case
) -> None:
    with page.beside(f"{proxy.url}/") as other:
        make(other, storage=True)
        if not locks:  # as on a page of plain http in a company's network
            for tab in (page, other):
                tab.run("Object.defineProperty(navigator, 'locks', {value: undefined})")
        two_hours_later(stand, monkeypatch)
        for _ in range(3):
            for tab in (page, other):
                tab.run("() => { window.who = client.refresh().then(() => client.me()) }")
            for tab in (page, other):
                assert tab.run("who.then(m => m.username)") == stand.user.username
        token = other.run("client.token")
        page.until_run(f"client.token === {token!r}")  # it hears of it by an event


def test_a_login_that_does_not_hold_any_more_is_told_once(stand: Standing, page: Tab) -> None:
    page.run("() => { window.out = 0; client.addEventListener('signedout', () => { out += 1 }) }")
    revoke(stand)
    for _ in range(2):
        fault = page.run("client.me().catch((error) => [error.name, error.code])")
        assert fault == ["UnauthorizedError", "unauthorized"]
    assert page.run("out") == 1
    assert page.run("localStorage.getItem('runnel.tokens')") is None


def test_signing_out_in_one_tab_is_known_in_the_other(proxy: Cutting, page: Tab) -> None:
    with page.beside(f"{proxy.url}/") as other:
        make(other, storage=True)
        other.run(
            "() => { window.out = 0; client.addEventListener('signedout', () => { out += 1 }) }"
        )
        page.run("client.logout()")
        other.until_run("out === 1 && !client.signedIn")


def test_whoever_gives_the_tokens_is_asked_again(stand: Standing, page: Tab) -> None:
    page.run(
        """async () => {
          const good = client.token;
          window.asked = [];
          const token = async (what) => { asked.push(what.expired); return what.expired ? good : "no"; };
          window.own = new library.RunnelClient({ baseUrl: location.origin, token });
          window.name = (await own.me()).username;
        }"""
    )
    assert page.run("[name, asked]") == [stand.user.username, [False, True]]
