"""/client.js where things are not as they should be: proxies that buffer, tabs that are hidden, restarts."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from buffering import Buffering
from chromium import Chromium, Tab
from client_page import APP, ask, assert_once_and_in_order, make, over

from cutting import Cutting
from processes import house_of, starting
from provider import Answer, Provider
from standing import Standing
from waiting import until

HIDE: Final = """
(state) => {
  Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}
"""


@pytest.fixture
def page(chromium: Chromium, proxy: Cutting) -> Iterator[Tab]:
    with chromium.tab(f"{proxy.url}/", without=APP) as tab:
        yield tab


def test_behind_a_proxy_that_buffers_answers_are_polled(
    stand: Standing, chromium: Chromium
) -> None:
    with (
        stand.gate_closed(),
        Buffering(stand.server.url) as proxy,
        chromium.tab(f"{proxy.url}/", without=APP) as tab,
    ):
        make(tab, token=stand.user.token, firstSign=200)
        ask(tab, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
        tab.until_run("one.answer.text === 'Hello'")  # though the answer is still being made
        stand.provider.release()
        told = over(tab, "one")
    assert (told["text"], told["status"]) == ("Hello world", "completed")
    assert_once_and_in_order(told)


def test_a_stream_that_has_died_without_a_word_is_opened_again(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    make(page, token=stand.user.token, silence=200)
    with stand.gate_closed():
        ask(page, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
        path = "/api/generations/"
        page.until_run("one.answer.text === 'Hello'")
        page.until_run("one.statuses.filter((status) => status === 'connecting').length >= 2")
    told = over(page, "one")
    assert told["text"] == "Hello world"
    assert_once_and_in_order(told)
    assert len([head for head in proxy.requests if head.path.startswith(path)]) >= 2


@pytest.mark.parametrize("transport", ["fetch", "eventsource", "poll"])
def test_a_hidden_tab_reads_nothing_and_loses_nothing(
    stand: Standing, page: Tab, transport: str
) -> None:
    make(page, token=stand.user.token, transports=[transport], pauseHiddenAfter=0)
    stand.provider.hold()
    ask(page, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
    page.until_run("one.answer.text === 'Hello'")
    generation = page.run("one.answer.generationId")
    page.run(HIDE, "hidden")
    page.until_run("client.paused")
    stand.provider.release()
    until(lambda: stand.generation(generation)["status"] == "completed")
    assert page.run("one.answer.text") == "Hello"
    page.run(HIDE, "visible")
    told = over(page, "one")
    assert (told["text"], told["status"]) == ("Hello world", "completed")
    assert_once_and_in_order(told)
    assert page.run("states") == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_restarts_in_mid_answer(
    chromium: Chromium, tmp_path: Path, how: signal.Signals
) -> None:
    with Provider() as provider, starting(house_of(provider, tmp_path)) as start:
        provider.hold()
        provider.answer("test", lambda _: Answer(["Hello", " world"], gate_after=1))
        first = start(SHUTDOWN_GRACE_SECONDS="0")
        port = first.url.rpartition(":")[2]
        with chromium.tab(f"{first.url}/", without=APP) as tab:
            make(tab, token=first.client.headers["authorization"].removeprefix("Bearer "))
            ask(tab, "one", "Hello?")
            tab.until_run("one.answer.text === 'Hello'")
            generation = tab.run("one.answer.generationId")
            until(lambda: first.generation(generation)["text"] == "Hello")  # it is stored
            os.kill(first.process.pid, how)
            first.process.wait()
            tab.until_run(
                "['offline', 'failed'].some((s) => [client.state, one.answer.status].includes(s))"
            )
            second = start(PORT=port)
            told = over(tab, "one")
            assert told["fault"] == {"name": "UnavailableError", "code": "interrupted"}
            assert told["text"] == second.generation(generation)["text"] == "Hello"
            provider.release()
            ask(tab, "two", "And now?")
            assert over(tab, "two")["text"] == "Hello world"
            assert tab.run("client.state") == "live"
