"""Questions that cannot be sent wait in /client.js, outlive the page, and are sent once, in order."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from chromium import Chromium, Tab
from client_page import APP, ask, make, over

from cutting import Cutting
from provider import Answer
from standing import Standing


class Network:
    """What stands between the page and the server, and can be taken away."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    def gone(self) -> None:
        self._tab.do(self._tab.page.context.set_offline(offline=True))

    def back(self) -> None:
        self._tab.do(self._tab.page.context.set_offline(offline=False))


@pytest.fixture
def page(chromium: Chromium, proxy: Cutting) -> Iterator[Tab]:
    with chromium.tab(f"{proxy.url}/", without=APP) as tab:
        yield tab


def questions(stand: Standing, pattern: str) -> list[str]:
    """What of these the store has, in order."""
    rows = stand.rows("SELECT content FROM messages WHERE role = 'user' ORDER BY created_at, id")
    return [text for (text,) in rows if re.fullmatch(pattern, text)]


def waiting(page: Tab) -> Any:
    return page.run("client.queue.map(({question, status}) => [question.message, status])")


def test_what_is_asked_while_offline_is_sent_once_and_in_order(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token, storage=True)
    network = Network(page)
    texts = [stand.prompt(Answer([f"answer {n}"])) for n in range(3)]
    network.gone()
    for number, text in enumerate(texts):
        ask(page, f"q{number}", text, sessionId="waits")
    page.until_run("client.state === 'offline'")
    page.until_run("client.queue.every(({status}) => status === 'queued')")
    assert waiting(page) == [[text, "queued"] for text in texts]
    network.back()
    answers = [over(page, f"q{number}") for number in range(3)]
    assert [told["text"] for told in answers] == ["answer 0", "answer 1", "answer 2"]
    assert questions(stand, "|".join(texts)) == texts
    assert waiting(page) == []
    assert page.run("client.state") == "live"
    assert [key for key in page.run("Object.keys(localStorage)") if "queue" in key] == []


def test_an_idle_page_notices_that_the_server_is_back(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    network = Network(page)
    network.gone()
    page.run("() => client.me().catch((error) => { window.fault = error.name })")
    assert page.run("fault") == "NetworkError"
    assert page.run("client.state") == "offline"
    network.back()
    page.until_run("client.state === 'live'")


def test_what_waits_outlives_the_page_and_is_sent_by_the_next(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    login(page, stand)
    network = Network(page)
    text = stand.prompt(Answer(["later"]))
    network.gone()
    ask(page, "one", text)
    page.until_run("client.queue.length === 1 && client.queue[0].status === 'queued'")
    # This page does nothing any more; the next one comes when the network is back.
    page.run("() => { client.request = () => new Promise(() => {}) }")
    network.back()
    page.do(page.page.goto(f"{proxy.url}/healthz"))
    page.do(page.page.goto(f"{proxy.url}/"))
    make(page, storage=True)
    page.run("() => { window.one = kept[0] }")
    assert page.run("one.answer.question.message") == text
    assert over(page, "one")["text"] == "later"
    assert questions(stand, text) == [text]


def test_two_tabs_with_the_same_queue_ask_once(stand: Standing, chromium: Chromium) -> None:
    text = stand.prompt(Answer(["once"]))
    with chromium.tab(f"{stand.server.url}/", without=APP) as first, ExitStack() as stack:
        login(first, stand)
        Network(first).gone()
        ask(first, "one", text)
        first.until_run("client.queue.length === 1 && client.queue[0].status === 'queued'")
        kept = first.run("JSON.stringify({...localStorage})")
        second = stack.enter_context(chromium.tab(f"{stand.server.url}/", without=APP))
        second.run(
            "(kept) => { for (const [key, value] of Object.entries(kept)) localStorage[key] = value }",
            json.loads(kept),
        )
        make(second, storage=True)
        second.run("() => { window.one = kept[0] }")
        Network(first).back()
        one, other = over(first, "one"), over(second, "one")
    assert one["generation"] == other["generation"]
    assert questions(stand, text) == [text]


def test_one_that_waits_can_be_taken_back(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token, storage=True)
    network = Network(page)
    text = stand.prompt(Answer(["never"]))
    network.gone()
    ask(page, "one", text)
    page.until_run("client.queue.length === 1 && client.queue[0].status === 'queued'")
    assert page.run("one.answer.cancel()")
    assert over(page, "one")["fault"]["code"] == "cancelled"
    network.back()
    page.until_run("client.state === 'live'")
    assert questions(stand, text) == []


def test_a_second_question_goes_into_the_session_that_the_first_begins(
    stand: Standing, page: Tab
) -> None:
    make(page, token=stand.user.token)
    network = Network(page)
    texts = [stand.prompt(Answer([f"answer {n}"])) for n in range(2)]
    network.gone()
    ask(page, "one", texts[0])
    page.run(
        "(text) => { window.two = read(client.ask({message: text, sessionId: one.answer})) }",
        texts[1],
    )
    page.until_run("client.queue.every(({status}) => status === 'queued')")
    network.back()
    over(page, "two")
    assert page.run("one.answer.sessionId === two.answer.sessionId")
    assert questions(stand, "|".join(texts)) == texts


def test_a_session_that_is_busy_elsewhere(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    with stand.gate_closed():
        held = stand.ask(
            "/chat", Answer(["a", "b"], gate_after=1), session_id="busy", background=True
        )
        assert held.status_code == 202
        ask(page, "now", stand.prompt(Answer(["refused"])), sessionId="busy")
        told = over(page, "now")
        assert told["fault"] == {"name": "BusyError", "code": "busy"}
        network = Network(page)
        network.gone()
        ask(page, "later", stand.prompt(Answer(["told"])), sessionId="busy")
        page.until_run("client.queue.length === 1 && client.queue[0].status === 'queued'")
        network.back()
        page.until_run("client.state === 'live'")
    assert over(page, "later")["text"] == "told"


def test_a_post_whose_answer_is_lost_is_one_question(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    make(page, token=stand.user.token)
    text = stand.prompt(Answer(["once"]))
    proxy.cut_after(1, 40, 100)
    ask(page, "one", text)
    assert over(page, "one")["text"] == "once"
    assert len(proxy.asked("/chat", "POST")) >= 2
    assert questions(stand, text) == [text]


def test_signing_out_forgets_what_waits(stand: Standing, page: Tab) -> None:
    login(page, stand)
    network = Network(page)
    text = stand.prompt(Answer(["never"]))
    network.gone()
    ask(page, "one", text)
    page.until_run("client.queue.length === 1 && client.queue[0].status === 'queued'")
    # Still away: else the question might leave first.
    page.run("() => client.logout().catch(() => {})")
    assert over(page, "one")["fault"]["code"] == "cancelled"
    assert page.run("Object.keys(localStorage).filter((key) => key.startsWith('runnel'))") == []


def login(page: Tab, stand: Standing) -> None:
    """Makes `client` with a login of its own, kept in the storage."""
    make(page, storage=True)
    page.run("(user) => client.login(...user)", [stand.user.username, stand.user.password])
