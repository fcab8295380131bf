"""What goes wrong around a session's channel of /client.js: none of it is the page's to handle."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from chromium import Chromium, Tab
from client_page import APP, make
from test_client_sockets import assert_told_once, open_channel

from cutting import Cutting
from processes import house_of, starting
from provider import Answer, Provider
from standing import Standing

#: A WebSocket that can go deaf, as where the network is gone and nobody has said so.
_DEAF: Final = """
() => {
  window.opened = 0;
  window.deaf = false;
  client._options.WebSocket = class extends WebSocket {
    constructor(...all) { super(...all); window.opened += 1; this.number = window.opened; }
    set onmessage(hear) {
      super.onmessage = hear && ((event) => { if (!(window.deaf && this.number === 1)) hear(event); });
    }
    set onclose(hear) {
      super.onclose = hear && ((event) => { if (!(window.deaf && this.number === 1)) hear(event); });
    }
    get onclose() { return super.onclose; }
  };
}
"""


@pytest.fixture
def page(chromium: Chromium, proxy: Cutting) -> Iterator[Tab]:
    with chromium.tab(f"{proxy.url}/", without=APP) as tab:
        yield tab


def send(tab: Tab, text: str) -> None:
    tab.run("(text) => { heard.socket.send(text) }", text)


def send_when_away(tab: Tab, *texts: str) -> None:
    """As soon as the connection breaks the next time."""
    tab.run(
        """(texts) => heard.socket.addEventListener("state", ({detail}) => {
          if (detail === "connecting") for (const text of texts.splice(0)) heard.socket.send(text);
        })""",
        list(texts),
    )


def count_of(stand: Standing, text: str) -> int:
    found = stand.rows(f"SELECT count(*) FROM messages WHERE content = '{text}'")  # noqa: S608 - ours
    return int(found[0][0])


def test_what_is_written_while_it_is_away_is_sent_in_order_each_behind_the_answer_before(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "away")
    texts = [stand.prompt(Answer([f"answer {n}"])) for n in range(3)]
    send_when_away(page, *texts)
    proxy.cut_now()
    page.until_run("heard.ended === 3")
    assert page.run("heard.types.filter((type) => type === 'error')") == []
    asked = [stand.provider.asks[-3 + n].body["messages"][-1]["content"] for n in range(3)]
    assert asked == texts
    assert [count_of(stand, text) for text in texts] == [1, 1, 1]


def test_a_question_that_waits_for_another_devices_answer(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "elsewhere")
    with stand.gate_closed():
        stand.ask(
            "/chat", Answer(["a", "b"], gate_after=1), session_id="elsewhere", background=True
        )
        page.until_run("heard.text === 'a'")
        send_when_away(page, stand.prompt(Answer(["c"])))
        proxy.cut_now()
        page.until_run("heard.states.filter((state) => state === 'open').length === 2")
    page.until_run("heard.ended === 2")
    assert page.run("heard.text") == "abc"
    assert page.run("heard.types.filter((type) => type === 'error')") == []


def test_a_question_that_is_asked_at_a_busy_session_is_told_so(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "busy")
    with stand.gate_closed():
        stand.ask("/chat", Answer(["a", "b"], gate_after=1), session_id="busy", background=True)
        page.until_run("heard.text === 'a'")
        send(page, "too early")
        page.until_run("heard.error?.code === 'busy'")
    page.until_run("heard.ended === 1")
    assert page.run("heard.text") == "ab"


def test_a_failed_answer_is_told_once_and_is_over(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "failed")
    send(page, stand.prompt(Answer(["Hello"], cut_after=1)))
    page.until_run("heard.error?.code === 'upstream_incomplete'")
    assert page.run("heard.socket.answers.size") == 0
    proxy.cut_now()
    page.until_run("heard.states.filter((state) => state === 'open').length === 2")
    page.run("client.me().then(() => null)")
    assert page.run("heard.types.filter((type) => type === 'error').length") == 1


def test_a_connection_that_is_open_on_this_side_only_is_opened_anew(
    stand: Standing, page: Tab
) -> None:
    make(page, token=stand.user.token)
    page.run(_DEAF)
    open_channel(page, "deaf", pingEvery=100)
    with stand.gate_closed():
        send(page, stand.prompt(Answer(["Hello", " world"], gate_after=1)))
        page.until_run("heard.text === 'Hello'")
        page.run("() => { window.deaf = true }")
        page.until_run("opened >= 2 && heard.socket.state === 'open'")
    page.until_run("heard.ended === 1")
    assert page.run("heard.text") == "Hello world"
    assert_told_once(page)


def test_a_server_that_restarts(chromium: Chromium, tmp_path: Path) -> None:
    with Provider() as provider, starting(house_of(provider, tmp_path)) as start:
        provider.answer("test", lambda _: Answer(["Hello", " world"]))
        first = start()
        port = first.url.rpartition(":")[2]
        with chromium.tab(f"{first.url}/", without=APP) as tab:
            make(tab, token=first.client.headers["authorization"].removeprefix("Bearer "))
            open_channel(tab, "restarts")
            first.signal(signal.SIGTERM)
            first.process.wait()
            tab.until_run("heard.socket.state === 'connecting'")
            send(tab, "Hello?")
            start(PORT=port)
            tab.until_run("heard.ended === 1")
            assert tab.run("[heard.text, heard.closed]") == ["Hello world", None]


def test_one_too_many_comes_in_when_another_has_gone(stand: Standing, page: Tab) -> None:
    most = stand.server.settings.websocket_max_connections_per_user
    make(page, token=stand.user.token)
    for number in range(most):
        open_channel(page, "many", f"channel{number}")
    page.run("() => { window.late = client.socket('many') }")
    page.run("client.me().then(() => null)")
    assert page.run("late.state") == "connecting"
    page.run("channel0.socket.close()")
    page.until_run("late.state === 'open'")
    page.run(
        f"() => {{ late.close(); for (let n = 1; n < {most}; n++) window[`channel${{n}}`].socket.close() }}"
    )


def test_what_is_too_long_for_a_frame_is_refused_and_the_channel_goes_on(
    stand: Standing, page: Tab
) -> None:
    make(page, token=stand.user.token)
    open_channel(page, "long")
    send(page, "x" * 70_000)
    page.until_run("heard.error?.code === 'payload_too_large'")
    send(page, stand.prompt(Answer(["Hello"])))
    page.until_run("heard.text === 'Hello'")


def test_where_no_websocket_gets_through_the_rest_counts_as_live(
    stand: Standing, page: Tab
) -> None:
    make(page, token=stand.user.token)
    page.run(
        """() => {
          window.tried = 0;
          client._options.WebSocket = class extends WebSocket {
            constructor(url, protocols) { super(url.replace("/ws/", "/nothing/"), protocols); window.tried += 1; }
          };
          window.never = client.socket("none");
        }"""
    )
    page.until_run("tried >= 4")
    assert page.run("[client.state, never.state]") == ["live", "connecting"]
    page.run("never.close()")
