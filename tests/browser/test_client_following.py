"""/client.js follows an answer by each of its transports, whatever breaks: once, in order, whole."""

import random
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import pytest
from answers_to_cut import MIDDLE, PIECES, TEXT, UP_TO_MIDDLE
from chromium import Chromium, Tab
from client_page import APP, ask, assert_once_and_in_order, make, over

from cutting import Cutting
from provider import Answer
from standing import Standing

TRANSPORTS: Final = ("fetch", "eventsource", "poll")
BY_EACH: Final = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
def page(chromium: Chromium, proxy: Cutting) -> Iterator[Tab]:
    """The server's own page, through the network that breaks."""
    with chromium.tab(f"{proxy.url}/", without=APP) as tab:
        yield tab


@BY_EACH
def test_an_answer_is_told_while_it_is_made(stand: Standing, page: Tab, transport: str) -> None:
    make(page, token=stand.user.token, transports=[transport])
    stand.provider.hold()
    ask(page, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
    page.until_run("one.answer.text === 'Hello'")
    assert page.run("one.answer.status") == "running"
    stand.provider.release()
    told = over(page, "one")
    assert [event["type"] for event in told["events"]] == ["start", "token", "token", "end"]
    assert (told["text"], told["status"], told["fault"]) == ("Hello world", "completed", None)
    assert told["statuses"] == ["connecting", "running", "completed"]
    assert page.run("states") == []


@BY_EACH
@pytest.mark.parametrize("seed", range(3))
def test_an_answer_cut_anywhere_is_whole_and_told_once(
    stand: Standing, proxy: Cutting, page: Tab, transport: str, seed: int
) -> None:
    make(page, token=stand.user.token, transports=[transport])
    stand.provider.hold()
    ask(page, "one", stand.prompt(Answer(PIECES, gate_after=MIDDLE)))
    page.until_run("one.answer.generationId !== null")
    chance = random.Random(f"{transport} {seed}")
    proxy.cut_after(*(chance.randint(1, 4000) for _ in range(8)))
    proxy.cut_now()
    page.run("text => { window.middle = text }", UP_TO_MIDDLE)
    page.until_run("one.answer.text === middle")
    proxy.cut_now()
    stand.provider.release()
    told = over(page, "one")
    kept = stand.generation(told["generation"])
    assert told["text"] == kept["text"] == TEXT
    assert told["position"] == kept["position"]
    assert_once_and_in_order(told)
    assert told["events"][-1]["type"] == "end"
    assert proxy.cuts.value >= 1


@BY_EACH
def test_who_holds_the_last_position_is_told_the_end(
    stand: Standing, page: Tab, transport: str
) -> None:
    make(page, token=stand.user.token, transports=[transport])
    done = stand.ask("/chat", Answer(["Hello", " world"])).json()
    position = stand.generation(done["generation_id"])["position"]
    page.run(
        "([id, after]) => { window.one = read(client.attach(id, {after, text: 'Hello world'})) }",
        [done["generation_id"], position],
    )
    told = over(page, "one")
    assert (told["status"], told["text"], told["fault"]) == ("completed", "Hello world", None)
    assert told["events"][-1]["type"] == "end"


@BY_EACH
def test_a_position_of_nowhere_is_reset(stand: Standing, page: Tab, transport: str) -> None:
    make(page, token=stand.user.token, transports=[transport])
    done = stand.ask("/chat", Answer(["Hello", " world"])).json()
    page.run(
        "([id]) => { window.one = read(client.attach(id, {after: '7-3', text: 'nonsense'})) }",
        [done["generation_id"]],
    )
    told = over(page, "one")
    assert (told["status"], told["text"]) == ("completed", "Hello world")


@BY_EACH
def test_an_abort_is_told_with_what_there_was(stand: Standing, page: Tab, transport: str) -> None:
    make(page, token=stand.user.token, transports=[transport])
    with stand.gate_closed():
        ask(page, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
        page.until_run("one.answer.text === 'Hello'")
        page.run("() => { one.answer.abort() }")
        told = over(page, "one")
    assert (told["status"], told["text"], told["fault"]) == ("aborted", "Hello", None)


@BY_EACH
def test_a_failure_is_a_typed_error(stand: Standing, page: Tab, transport: str) -> None:
    make(page, token=stand.user.token, transports=[transport])
    ask(page, "one", stand.prompt(Answer(["Hello"], cut_after=1)))
    told = over(page, "one")
    assert (told["status"], told["text"]) == ("failed", "Hello")
    assert told["fault"] == {"name": "ModelError", "code": "upstream_incomplete"}


@BY_EACH
def test_who_leaves_stops_nothing(stand: Standing, page: Tab, transport: str) -> None:
    make(page, token=stand.user.token, transports=[transport])
    stand.provider.hold()
    ask(page, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
    page.until_run("one.answer.text === 'Hello'")
    page.run("one.answer.detach()")
    assert over(page, "one")["text"] == "Hello"
    stand.provider.release()
    page.run("() => { window.two = read(client.attach(one.answer.generationId)) }")
    assert over(page, "two")["text"] == "Hello world"


def test_who_iterates_later_is_told_what_there_was(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    stand.provider.hold()
    ask(page, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
    page.until_run("one.answer.text === 'Hello'")
    page.run("() => { window.two = read(one.answer) }")
    stand.provider.release()
    told = over(page, "two")
    assert [event["type"] for event in told["events"]] == ["reset", "token", "end"]
    over(page, "one")
    page.run("() => { window.three = read(one.answer) }")
    assert [event["type"] for event in over(page, "three")["events"]] == ["reset", "end"]


def test_without_a_login_an_answer_is_unauthorized(page: Tab) -> None:
    make(page)
    ask(page, "one", "Hello?")
    assert over(page, "one")["fault"] == {"name": "UnauthorizedError", "code": "unauthorized"}


def test_errors_have_their_types_and_say_which_field(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    ask(page, "one", "Hello?", params={"temprature": 1})
    told = over(page, "one")
    assert told["fault"] == {"name": "InvalidRequestError", "code": "invalid_request"}
    assert page.run("one.answer.error.facts.errors[0].field") == "params.temprature"
    page.run("() => { window.two = read(client.attach('01a22086-1e17-7317-a332-08cdb0f683b7')) }")
    assert over(page, "two")["fault"] == {"name": "NotFoundError", "code": "not_found"}


def test_the_ladder_is_climbed_down_where_a_transport_cannot_be_had(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    make(page, token=stand.user.token, EventSource=None)
    page.run(
        """() => {
          delete window.EventSource;
          const own = window.fetch;
          // As where bodies cannot be streamed.
          client._options.fetch = async (...all) => {
            const response = await own(...all);
            Object.defineProperty(response, "body", { value: null });
            return response;
          };
        }"""
    )
    ask(page, "one", stand.prompt(Answer(["Hello", " world"])))
    told = over(page, "one")
    assert (told["text"], told["status"]) == ("Hello world", "completed")
    path = f"/api/generations/{told['generation']}/events"
    kinds = [head.headers["accept"] for head in proxy.asked(path)]
    assert kinds[0] == "text/event-stream"
    assert set(kinds[1:]) == {"application/json"}
    ask(page, "two", stand.prompt(Answer(["Hello", " again"])))
    path = f"/api/generations/{over(page, 'two')['generation']}/events"
    assert {head.headers["accept"] for head in proxy.asked(path)} == {"application/json"}


def test_a_page_of_another_origin(stand: Standing, tab: Tab) -> None:
    make(tab, stand.server.url, token=stand.user.token)
    ask(tab, "one", stand.prompt(Answer(["Hello", " world"])))
    assert over(tab, "one")["text"] == "Hello world"


def test_no_address_has_a_token_in_it_but_tickets(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token, transports=["eventsource"])
    ask(page, "one", stand.prompt(Answer(["Hello"])))
    over(page, "one")
    assert not [url for url in page.requested if stand.user.token in url]
    assert re.search(r"ticket=", "".join(urlsplit(url).query for url in page.requested))
