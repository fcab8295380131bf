"""A page's plain `new WebSocket(url, ["bearer", token])`, in a real Chromium, over a network that breaks."""

from typing import Any, Final

import pytest
from answers_to_cut import MIDDLE, PIECES, TEXT, UP_TO_MIDDLE
from chromium import Chromium, Tab

from cutting import Cutting
from provider import Answer
from standing import Standing

#: Shows an answer of a session's channel, and goes on where it was when the connection breaks.
_JOIN: Final = """
({url, token, ask}) => {
  const seen = window.reader = {text: "", frames: [], closes: [], opens: [], after: null, done: false};
  const open = () => {
    const socket = seen.socket = new WebSocket(url, ["bearer", token]);
    socket.onopen = () => {
      seen.opens.push(socket.protocol);
      if (seen.generation) {
        const resume = {type: "resume", generation_id: seen.generation};
        socket.send(JSON.stringify(seen.after ? {...resume, after: seen.after} : resume));
      } else if (ask) socket.send(JSON.stringify({type: "message", content: ask}));
    };
    socket.onmessage = ({data}) => {
      const frame = JSON.parse(data);
      seen.frames.push(frame.type);
      if (frame.generation_id) seen.generation = frame.generation_id;
      if (frame.position) seen.after = frame.position;
      if (frame.type === "stream_chunk") seen.text += frame.content;
      else if (frame.type === "reset") seen.text = frame.text;
      else if (frame.type === "stream_end") seen.done = true;
      document.getElementById("answer").textContent = seen.text;
    };
    socket.onclose = ({code, reason}) => {
      seen.closes.push([code, reason]);
      if (code === 1006 && !seen.done) open();
    };
  };
  open();
}
"""
#: What is no page of ours may load and open nothing, by its headers.
LENIENT: Final = {"bypass_csp": True}


def join(tab: Tab, url: str, session: str, token: str, ask: str | None = None) -> None:
    """The page opens the session's channel there; what it sees is `reader`."""
    there = f"{url.replace('http', 'ws')}/ws/{session}"
    tab.run(_JOIN, {"url": there, "token": token, "ask": ask})


def stored_text(stand: Standing, tab: Tab) -> Any:
    return stand.generation(tab.run("reader.generation"))["text"]


@pytest.fixture
def own_tab(chromium: Chromium, stand: Standing) -> Any:
    """A page of the chat server's own origin."""
    with chromium.tab(f"{stand.server.url}/healthz", **LENIENT) as page:
        page.run("document.body.innerHTML = '<pre id=answer></pre>'")
        yield page


def test_a_page_of_another_origin_that_is_listed(stand: Standing, tab: Tab) -> None:
    stand.provider.release()
    question = stand.prompt(Answer(["Good", " day"]))
    join(tab, stand.server.url, "listed", stand.user.token, question)
    tab.until("reader.done")
    assert tab.run("[reader.text, reader.opens]") == ["Good day", ["bearer"]]
    assert tab.run("reader.frames").index("connected") == 0
    tab.run("reader.socket.close()")
    tab.until("reader.closes.length === 1")
    assert tab.run("reader.closes[0][0]") == 1005


def test_a_page_of_the_server_itself(stand: Standing, own_tab: Tab) -> None:
    stand.provider.release()
    question = stand.prompt(Answer(["Good", " day"]))
    join(own_tab, stand.server.url, "own", stand.user.token, question)
    own_tab.until("reader.done")
    assert own_tab.run("document.getElementById('answer').textContent") == "Good day"


def test_a_page_that_may_not_connect_is_told_so(
    chromium: Chromium, stand: Standing, proxy: Cutting
) -> None:
    """The other port is another host; through the proxy the server's own page is foreign too."""
    with chromium.tab(f"{proxy.url}/healthz", **LENIENT) as foreign:
        foreign.run("document.body.innerHTML = '<pre id=answer></pre>'")
        join(foreign, stand.server.url, "foreign", stand.user.token, "hi")
        foreign.until("reader.closes.length === 1")
        told = foreign.run("reader.closes[0]")
        assert told == [4403, "this origin may not connect"]
        assert foreign.run("reader.frames") == []


def test_a_page_with_a_wrong_token_is_told_so(stand: Standing, tab: Tab) -> None:
    join(tab, stand.server.url, "wrong", "wrong")
    tab.until("reader.closes.length === 1")
    code, reason = tab.run("reader.closes[0]")
    assert code == 4401
    assert reason
    join(tab, stand.server.url, "no name", stand.user.token)
    tab.until("reader.closes.length === 1")
    assert tab.run("reader.closes[0][0]") == 4404


def test_an_answer_cut_in_its_middle_is_shown_without_gap_or_repeat(
    stand: Standing, tab: Tab, proxy: Cutting
) -> None:
    stand.provider.hold()
    question = stand.prompt(Answer(PIECES, gate_after=MIDDLE))
    join(tab, proxy.url, "cut", stand.user.token, question)
    tab.until("text => reader.text === text", UP_TO_MIDDLE)
    assert proxy.cut_now()
    # It is back, at the very token, before anything more is said.
    tab.until("reader.opens.length === 2")
    assert tab.run("reader.text") == UP_TO_MIDDLE
    assert proxy.cut_now()
    stand.provider.release()
    tab.until("reader.done")
    assert tab.run("reader.text") == stored_text(stand, tab) == TEXT
    assert "reset" not in tab.run("reader.frames")
    assert {code for code, _ in tab.run("reader.closes")} == {1006}
    assert tab.run("reader.opens") == ["bearer"] * tab.run("reader.opens.length")


def test_cuts_anywhere_lose_nothing(stand: Standing, tab: Tab, proxy: Cutting) -> None:
    """Also in the handshake's answer, and inside of a frame."""
    stand.provider.release()
    question = stand.prompt(Answer(PIECES))
    proxy.cut_after(3_000, 40, 9_000, 0, 12_000)
    join(tab, proxy.url, "cuts", stand.user.token, question)
    tab.until("reader.done")
    assert tab.run("reader.text") == stored_text(stand, tab) == TEXT
    assert proxy.cuts.value == 5
