"""RunnelSocket of /client.js: a session's channel that comes back where it was, and tells nothing twice."""

import random
from collections.abc import Iterator
from typing import Any, Final

import pytest
from answers_to_cut import MIDDLE, PIECES, TEXT, UP_TO_MIDDLE
from chromium import Chromium, Tab
from client_page import APP, make

from cutting import Cutting
from provider import Answer
from serving import Signed
from standing import Standing

#: Opens a session's channel; what is heard of its answers is `heard`.
_OPEN: Final = """
([session, options, name]) => {
  const socket = client.socket(session, options);
  const heard = window[name] = {
    socket, text: "", positions: [], ended: 0, types: [], states: [], closed: null, aborted: 0,
  };
  const on = (type, act) => socket.addEventListener(type, ({detail}) => {
    heard.types.push(type);
    act(detail);
  });
  on("message_saved", () => {});
  on("stream_start", (frame) => { heard.generation = frame.generation_id; });
  on("stream_chunk", (frame) => { heard.text += frame.content; heard.positions.push(frame.position); });
  on("reset", (frame) => { heard.text = frame.text; heard.positions.push(frame.position); });
  on("stream_end", () => { heard.ended += 1; });
  on("aborted", () => { heard.aborted += 1; });
  on("error", (frame) => { heard.error = frame; });
  on("closed", (error) => { heard.closed = [error.name, error.code]; });
  socket.addEventListener("state", ({detail}) => heard.states.push(detail));
}
"""


def open_channel(tab: Tab, session: str, name: str = "heard", **options: Any) -> None:
    """Returns once it is open."""
    tab.run(_OPEN, [session, options, name])
    tab.until_run(f"{name}.socket.state === 'open'")


@pytest.fixture
def page(chromium: Chromium, proxy: Cutting) -> Iterator[Tab]:
    with chromium.tab(f"{proxy.url}/", without=APP) as tab:
        yield tab


def assert_told_once(tab: Tab, name: str = "heard") -> None:
    positions = [tuple(map(int, position.split("-"))) for position in tab.run(f"{name}.positions")]
    assert positions == sorted(set(positions))


def test_a_question_and_its_answer(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "talk-1")
    text = stand.prompt(Answer(["Hello", " world"]))
    page.run("(text) => { window.key = heard.socket.send(text) }", text)
    page.until_run("heard.ended === 1")
    assert page.run("heard.text") == "Hello world"
    assert page.run("heard.types") == [
        "message_saved",
        "stream_start",
        "stream_chunk",
        "stream_chunk",
        "stream_end",
    ]


@pytest.mark.parametrize("seed", range(4))
def test_it_is_cut_anywhere_and_tells_everything_once(
    stand: Standing, proxy: Cutting, page: Tab, seed: int
) -> None:
    make(page, token=stand.user.token)
    open_channel(page, f"cut-{seed}")
    chance = random.Random(seed)
    with stand.gate_closed():
        text = stand.prompt(Answer(PIECES, gate_after=MIDDLE))
        proxy.cut_after(*(chance.randint(200, 6000) for _ in range(6)))
        proxy.cut_now()
        page.run("(text) => { heard.socket.send(text) }", text)
        page.run("text => { window.middle = text }", UP_TO_MIDDLE)
        page.until_run("heard.text === middle")
        proxy.cut_now()
    page.until_run("heard.ended === 1")
    assert page.run("heard.text") == TEXT
    assert_told_once(page)
    rows = stand.rows(f"SELECT count(*) FROM messages WHERE content = '{text}'")  # noqa: S608 - a prompt of ours
    assert rows == [(1,)]


def test_who_comes_later_is_told_all_and_once(stand: Standing, proxy: Cutting, page: Tab) -> None:
    make(page, token=stand.user.token)
    with stand.gate_closed():
        stand.ask(
            "/chat", Answer(["Hello", " world"], gate_after=1), session_id="later", background=True
        )
        open_channel(page, "later")
        page.until_run("heard.text === 'Hello'")
        proxy.cut_now()
        page.until_run("heard.states.filter((state) => state === 'open').length === 2")
    page.until_run("heard.ended === 1")
    assert page.run("heard.text") == "Hello world"
    assert_told_once(page)


def test_without_chunks_only_beginnings_and_ends_are_told(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "quiet", chunks=False)
    stand.ask("/chat", Answer(["Hello", " world"]), session_id="quiet")
    page.until_run("heard.ended === 1")
    assert page.run("heard.types") == ["message_saved", "stream_start", "stream_end"]


def test_an_abort_and_typing_reach_the_other_device(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "two")
    open_channel(page, "two", "other")
    page.run(
        "() => { window.typing = []; other.socket.addEventListener('typing', (e) => typing.push(e.detail.active)) }"
    )
    page.run("() => { heard.socket.typing(true); heard.socket.typing(false) }")
    page.until_run("typing.at(-1) === false")
    with stand.gate_closed():
        text = stand.prompt(Answer(["Hello", " world"], gate_after=1))
        page.run("(text) => { heard.socket.send(text) }", text)
        page.until_run("other.text === 'Hello'")
        page.run("() => { other.socket.abort() }")
        page.until_run("heard.aborted === 1 && other.aborted === 1")


def signed_in_long_ago(stand: Standing, page: Tab, name: str) -> Signed:
    """The page's client is a new user's, whose token is not taken any more."""
    make(page, storage=True)
    user = stand.server.user(name)
    page.run("(user) => client.login(...user)", [user.username, user.password])
    page.run(
        """() => {
          const kept = JSON.parse(localStorage.getItem("runnel.tokens"));
          localStorage.setItem("runnel.tokens", JSON.stringify({...kept, token: kept.token + "x"}));
        }"""
    )
    make(page, storage=True)
    return user


def test_a_token_that_ran_out_is_renewed_and_a_login_that_ended_is_told(
    stand: Standing, page: Tab
) -> None:
    bea = signed_in_long_ago(stand, page, "bea")
    open_channel(page, "renewed")
    assert page.run("heard.closed") is None
    administration = stand.server.server.administration
    stand.server.call(administration.set_password(bea.username, bea.password))
    page.until_run("heard.closed !== null")
    assert page.run("heard.closed") == ["UnauthorizedError", "unauthorized"]
    assert page.run("heard.socket.state") == "closed"


def test_a_token_that_was_renewed_meanwhile_is_not_renewed_again(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    signed_in_long_ago(stand, page, "cyd")
    # That the socket was refused is heard only when another request has renewed the token.
    page.run(
        """() => {
          client._options.WebSocket = class extends WebSocket {
            set onclose(heard) {
              super.onclose = heard && ((event) => client.me().then(() => heard(event)));
            }
          };
        }"""
    )
    open_channel(page, "meanwhile")
    assert page.run("heard.closed") is None
    assert len(proxy.asked("/ws/meanwhile")) == 2
    assert len(proxy.asked("/refresh", "POST")) == 1


def test_what_is_unknown_is_final(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    page.run(_OPEN, ["01a22086-1e17-7317-a332-08cdb0f683b7", {}, "heard"])
    page.until_run("heard.closed !== null")
    assert page.run("heard.closed") == ["NotFoundError", "not_found"]


def test_who_closes_it_is_left_alone(stand: Standing, proxy: Cutting, page: Tab) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "left")
    page.run("heard.socket.close()")
    page.until_run("heard.socket.state === 'closed'")
    opened = len(proxy.asked("/ws/left"))
    page.run("client.me().then(() => null)")
    assert len(proxy.asked("/ws/left")) == opened == 1
    assert page.run("heard.closed") is None
