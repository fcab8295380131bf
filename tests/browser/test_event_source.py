"""A page's plain `new EventSource(events_url)`, in a real Chromium, over a network that breaks."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from answers_to_cut import CUT_IN_WIDE, MIDDLE, PIECES, TEXT, UP_TO_MIDDLE, in_background
from chromium import Tab

from cutting import Cutting, Head
from provider import Answer
from standing import Standing

CLOSED = 2  # EventSource.CLOSED: it will not connect again
BOTH = pytest.mark.parametrize("form", ["text", "events"])


def listen(tab: Tab, proxy: Cutting, asked: dict[str, Any], name: str = "reader") -> None:
    """The page listens to an answer, through the network that breaks."""
    tab.run(f"url => {{ window.{name} = listen(url) }}", proxy.url + asked["events_url"])


def attaches(proxy: Cutting, asked: dict[str, Any]) -> list[Head]:
    return proxy.asked(urlsplit(str(asked["events_url"])).path)


def assert_seen_once_and_whole(seen: list[dict[str, str]], form: str, last: str) -> None:
    """Every position from the first to the last was shown once, in order, and then `[DONE]`."""
    *events, done = seen
    assert done == {"name": "message", "data": "[DONE]", "id": last}
    first, end = (0, 1) if form == "events" else (1, 0)  # `text` shows neither start nor end
    count = int(last.removeprefix("1-"))
    assert [event["id"] for event in events] == [f"1-{n}" for n in range(first, count + end)]


@BOTH
def test_tokens_show_while_the_model_is_at_work(
    stand: Standing, tab: Tab, proxy: Cutting, form: str
) -> None:
    stand.provider.hold()
    asked = in_background(stand, Answer(["Hello", " world"], gate_after=1), form)
    listen(tab, proxy, asked)
    tab.until("reader.text === 'Hello'")
    stand.provider.at_gate.wait_at_least(1)  # the model is still at work
    stand.provider.release()
    tab.until("reader.done")
    assert tab.run("reader.text") == "Hello world"
    assert tab.run("document.getElementById('answer').textContent") == "Hello world"


@BOTH
def test_an_answer_cut_in_its_middle_is_shown_without_gap_or_repeat(
    stand: Standing, tab: Tab, proxy: Cutting, form: str
) -> None:
    stand.provider.hold()
    asked = in_background(stand, Answer(PIECES, gate_after=MIDDLE), form)
    proxy.cut_after(CUT_IN_WIDE, None, CUT_IN_WIDE)
    listen(tab, proxy, asked)
    tab.until("text => reader.text === text", UP_TO_MIDDLE)
    held = tab.run("reader.position")
    assert proxy.cuts.value == 1
    assert proxy.cut_now()
    stand.provider.release()
    tab.until("reader.done")
    tab.until(f"reader.state === {CLOSED}")

    kept = stand.generation(asked["generation_id"])
    assert tab.run("reader.text") == kept["text"] == TEXT
    assert_seen_once_and_whole(tab.run("reader.seen"), form, kept["position"])
    heads = attaches(proxy, asked)
    sent = [head.headers.get("last-event-id") for head in heads]
    lost = tab.run("reader.lost")
    assert sent == [None, *lost[:-1]]
    assert len(lost) == 5  # three cuts, the end, and the answer to that: do not connect again
    assert (lost[1], lost[-1]) == (held, kept["position"])
    assert {head.headers["origin"] for head in heads} == {tab.run("origin")}


def test_the_end_ends_the_reconnecting(stand: Standing, tab: Tab, proxy: Cutting) -> None:
    stand.provider.release()
    asked = in_background(stand, Answer(), "events")
    listen(tab, proxy, asked)
    tab.until(f"reader.state === {CLOSED}")
    position = stand.generation(asked["generation_id"])["position"]
    sent = [head.headers.get("last-event-id") for head in attaches(proxy, asked)]
    assert sent == [None, position]

    # Three delays of another, of a second or more, are longer than any that the first was told.
    other = in_background(stand, Answer(PIECES), "events")
    proxy.cut_after(CUT_IN_WIDE, CUT_IN_WIDE)
    listen(tab, proxy, other, "other")
    tab.until(f"other.state === {CLOSED}")
    assert len(attaches(proxy, other)) == 4
    assert tab.run("other.text") == TEXT
    assert len(attaches(proxy, asked)) == 2
    assert tab.run("[reader.state, reader.opened, reader.text]") == [CLOSED, 1, "Hello world"]


@BOTH
def test_a_page_may_close_at_done(stand: Standing, tab: Tab, proxy: Cutting, form: str) -> None:
    stand.provider.release()
    asked = in_background(stand, Answer(), form)
    url = proxy.url + asked["events_url"]
    tab.run("url => { window.reader = listen(url, { closeAtDone: true }) }", url)
    tab.until(f"reader.state === {CLOSED}")
    assert tab.run("[reader.done, reader.text, reader.lost]") == [True, "Hello world", []]
    assert len(attaches(proxy, asked)) == 1


@BOTH
def test_an_abort_from_elsewhere_is_told_and_ends_it(
    stand: Standing, tab: Tab, proxy: Cutting, form: str
) -> None:
    stand.provider.hold()
    asked = in_background(stand, Answer(["Hello", " world"], gate_after=1), form)
    listen(tab, proxy, asked)
    tab.until("reader.text === 'Hello'")
    aborted = stand.client.post(asked["abort_url"])
    assert (aborted.status_code, aborted.json()["status"]) == (200, "aborted")
    tab.until(f"reader.state === {CLOSED}")
    told, done = tab.run("reader.seen.slice(-2)")
    assert told["name"] == "aborted"
    assert '"by":"user"' in told["data"]
    assert done["data"] == "[DONE]"
    kept = stand.generation(asked["generation_id"])
    assert (kept["status"], kept["text"], kept["position"]) == ("aborted", "Hello", done["id"])
    assert tab.run("reader.text") == "Hello"
    assert len(attaches(proxy, asked)) == 2


@BOTH
def test_a_failure_in_mid_answer_is_told_and_ends_it(
    stand: Standing, tab: Tab, proxy: Cutting, form: str
) -> None:
    stand.provider.hold()
    asked = in_background(stand, Answer(["Hello"], gate_after=1, cut_after=1), form)
    listen(tab, proxy, asked)
    tab.until("reader.text === 'Hello'")
    stand.provider.release()
    tab.until(f"reader.state === {CLOSED}")
    told, done = tab.run("reader.seen.slice(-2)")
    assert told["name"] == "failed"
    assert done["data"] == "[DONE]"
    kept = stand.generation(asked["generation_id"])
    assert (kept["status"], kept["position"]) == ("failed", done["id"])
    assert tab.run("reader.text") == kept["text"] == "Hello"
    assert tab.run("JSON.parse(reader.seen.at(-2).data)") == kept["error"]
    assert len(attaches(proxy, asked)) == 2
