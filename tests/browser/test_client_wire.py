"""What /client.js makes of what comes over the wire: frames cut anywhere, and answers of proxies."""

from collections.abc import Iterator
from typing import Final

import pytest
from chromium import Chromium, Tab
from client_page import APP, ask, make, over

from cutting import Cutting
from provider import Answer
from standing import Standing

_FRAMES: Final = (
    ": heartbeat\n\n"
    'event: start\ndata: {"generation_id":"g"}\nid: 1-0\n\n'
    'event: token\ndata: {"text":"h\u00e9 \U0001f389\u2028[DONE]\\n"}\nid: 1-1\n\n'
    'data:{"text":\ndata: "two lines"}\nevent:token\nid:1-2\n\n'
    "data: [DONE]\n\n"
)
#: Reads frames whose bytes come in pieces: cut once, everywhere; or one by one.
_READ: Final = """
async (frames) => {
  const { eventsOf } = await import("/client.js");
  const bytes = new TextEncoder().encode(frames);
  const read = async (pieces) => {
    const body = new ReadableStream({ start(to) { pieces.forEach((p) => to.enqueue(p)); to.close(); } });
    const told = [];
    for await (const event of eventsOf(body)) if (event !== undefined) told.push(event);
    return JSON.stringify(told);
  };
  const whole = await read([bytes]);
  const different = [];
  for (let at = 1; at < bytes.length; at++) {
    if ((await read([bytes.slice(0, at), bytes.slice(at)])) !== whole) different.push(at);
  }
  if ((await read([...bytes].map((byte) => Uint8Array.of(byte)))) !== whole) different.push("each");
  return { told: JSON.parse(whole), different };
}
"""
#: A network in which something else answers some calls.
_BETWEEN: Final = """
([part, status, body, headers]) => {
  const own = window.fetch.bind(window);
  window.between = true;
  window.met = 0;
  client._options.fetch = async (url, init) => {
    if (!window.between || !String(url).includes(part)) return own(url, init);
    window.met += 1;
    return new Response(body, { status, headers });
  };
}
"""
HTML: Final = "<html><h1>Bad Gateway</h1></html>"


@pytest.fixture
def page(chromium: Chromium, proxy: Cutting) -> Iterator[Tab]:
    with chromium.tab(f"{proxy.url}/", without=APP) as tab:
        yield tab


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_frames_are_the_same_wherever_they_are_cut(page: Tab, line_end: str) -> None:
    read = page.run(_READ, _FRAMES.replace("\n", line_end))
    assert read["different"] == []
    assert read["told"] == [
        {"type": "start", "position": "1-0", "generation_id": "g"},
        {"type": "token", "position": "1-1", "text": "h\u00e9 \U0001f389\u2028[DONE]\n"},
        {"type": "token", "position": "1-2", "text": "two lines"},
        None,
    ]


def test_a_frame_of_megabytes_in_small_pieces_takes_no_longer_than_its_length(page: Tab) -> None:
    """It is not read again from its beginning with each piece."""
    took = page.run(
        """async () => {
          const { eventsOf } = await import("/client.js");
          const data = JSON.stringify({ text: "x".repeat(4 << 20) });
          const bytes = new TextEncoder().encode(`event: reset\\ndata: ${data}\\nid: 2-0\\n\\n`);
          let at = 0;
          const body = new ReadableStream({
            pull(to) {
              if (at >= bytes.length) return to.close();
              to.enqueue(bytes.subarray(at, at += 1024));
            },
          });
          const begun = performance.now();
          let length = 0;
          for await (const event of eventsOf(body)) if (event) length = event.text.length;
          return [length, performance.now() - begun];
        }"""
    )
    assert took[0] == 4 << 20
    assert took[1] < 10_000


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_proxy_that_says_bad_gateway_makes_a_question_wait(
    stand: Standing, page: Tab, status: int
) -> None:
    make(page, token=stand.user.token)
    page.run(_BETWEEN, ["", status, HTML, {}])
    ask(page, "one", stand.prompt(Answer(["Hello"])))
    page.until_run("one.answer.status === 'queued'")
    assert page.run("client.state") == "offline"
    page.run("() => { window.between = false }")
    assert over(page, "one")["text"] == "Hello"
    assert page.run("client.state") == "live"


def test_a_page_that_wants_a_sign_in_to_the_network_is_no_answer(
    stand: Standing, page: Tab
) -> None:
    make(page, token=stand.user.token)
    page.run(_BETWEEN, ["", 200, HTML, {"Content-Type": "text/html"}])
    ask(page, "one", stand.prompt(Answer(["Hello"])))
    page.until_run("one.answer.status === 'queued'")
    page.run("() => { window.between = false }")
    assert over(page, "one")["text"] == "Hello"
    page.run("() => { window.between = true }")
    fault = page.run("client.me().catch((error) => error instanceof library.RunnelError)")
    assert fault is True


@pytest.mark.parametrize(
    ("status", "code", "name", "retryable"),
    [
        (403, "forbidden", "ForbiddenError", False),
        (409, "session_closed", "ConflictError", False),
        (409, "busy", "BusyError", True),
        (429, "rate_limited", "RateLimitedError", True),
        (429, None, "RateLimitedError", True),
        (404, None, "NotFoundError", False),
        (502, None, "UnavailableError", True),
    ],
)
def test_errors_are_typed_whoever_answers(
    page: Tab, status: int, code: str | None, name: str, *, retryable: bool
) -> None:
    make(page)
    body = HTML if code is None else f'{{"code": "{code}", "detail": "No."}}'
    page.run(_BETWEEN, ["models", status, body, {"Retry-After": "7"}])
    fault = page.run("client.models().catch((e) => [e.name, e.retryable, e.retryAfter, e.status])")
    assert fault == [name, retryable, 7, status]


def test_the_server_says_how_long_to_wait(stand: Standing, page: Tab) -> None:
    """And nothing else brings it about earlier: not a tab that is shown, nor the network's return."""
    make(page, token=stand.user.token)
    overloaded = '{"code": "overloaded", "detail": "Later."}'
    page.run(_BETWEEN, ["/chat", 503, overloaded, {"Retry-After": "2"}])
    page.run("() => { window.begun = performance.now() }")
    ask(page, "one", stand.prompt(Answer(["Hello"])))
    page.until_run("one.answer.status === 'queued'")
    page.run(
        """() => {
          window.between = false;
          window.dispatchEvent(new Event("online"));
          document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    assert over(page, "one")["text"] == "Hello"
    assert page.run("performance.now() - begun") >= 2000


def test_whoever_leaves_while_it_reconnects_leaves_the_connection_live(
    stand: Standing, page: Tab
) -> None:
    make(page, token=stand.user.token)
    with stand.gate_closed():
        ask(page, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
        page.until_run("one.answer.text === 'Hello'")
        refused = '{"code": "stream_unavailable", "detail": "Not now."}'
        page.run(_BETWEEN, ["/events", 503, refused, {"Retry-After": "60"}])
        page.run("() => { window.dispatchEvent(new Event('online')) }")
        page.until_run("client.state === 'reconnecting'")
        page.run("one.answer.detach()")
        page.until_run("client.state === 'live'")


def test_whoever_leaves_before_an_event_source_is_open_is_told_nothing_more(
    stand: Standing, proxy: Cutting, page: Tab
) -> None:
    make(page, token=stand.user.token, transports=["eventsource"])
    page.run(
        """() => {
          client._options.fetch = async (url, init) => {
            const response = await fetch(url, init);
            if (String(url).includes("tickets")) one.answer.detach();
            return response;
          };
        }"""
    )
    ask(page, "one", stand.prompt(Answer(["Hello"])))
    told = over(page, "one")
    page.run("client.me().then(() => null)")
    assert page.run("one.answer.text") == ""
    assert proxy.asked(f"/api/generations/{told['generation']}/events") == []


def test_a_network_that_has_changed_is_no_break(stand: Standing, page: Tab) -> None:
    make(page, token=stand.user.token)
    with stand.gate_closed():
        ask(page, "one", stand.prompt(Answer(["Hello", " world"], gate_after=1)))
        page.until_run("one.answer.text === 'Hello'")
        page.run("() => { window.dispatchEvent(new Event('online')) }")
    assert over(page, "one")["text"] == "Hello world"
    assert page.run("states") == []


def test_whoever_gives_the_tokens_may_have_none_just_now(stand: Standing, page: Tab) -> None:
    make(page)
    page.run(
        """(good) => {
          window.gives = false;
          const token = () => window.gives ? good : Promise.reject(new TypeError("Failed to fetch"));
          window.client = new library.RunnelClient({ baseUrl: location.origin, backoff: 20, token });
        }""",
        stand.user.token,
    )
    ask(page, "one", stand.prompt(Answer(["Hello"])))
    page.until_run("one.answer.status === 'queued'")
    page.run("() => { window.gives = true }")
    assert over(page, "one")["text"] == "Hello"


def test_whoever_gives_tokens_that_do_not_hold_is_signed_out(page: Tab) -> None:
    make(page)
    page.run(
        """() => {
          window.out = 0;
          window.client = new library.RunnelClient({ baseUrl: location.origin, token: () => "no" });
          client.addEventListener("signedout", () => { out += 1 });
        }"""
    )
    assert page.run("client.me().catch((error) => error.name)") == "UnauthorizedError"
    assert page.run("out") == 1
