"""The readers of server-sent events that Node programs and pages take from npm."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from answers_to_cut import CUT_IN_WIDE, MIDDLE, PIECES, WORDS, in_background
from chromium import Tab

from cutting import Cutting
from provider import Answer
from reading import DONE, cleaned
from standing import Json, Standing

GENERATE: Final = "/api/generate"
READ: Final = Path(__file__).parents[1] / "js" / "read.mjs"
TEXT: Final = cleaned(WORDS)
BOTH: Final = pytest.mark.parametrize("form", ["text", "events"])
Read = Callable[..., Json]


@pytest.fixture
def read(stand: Standing, node: str, npm_packages: Path) -> Read:
    """Sends a request (a POST if there is a body) and reads the stream with eventsource-parser."""
    assert npm_packages.is_dir()

    def run(path: str, body: Json | None = None, **headers: str) -> Json:
        request: Json = {"url": stand.server.url + path, "headers": stand.user.headers | headers}
        if body is not None:
            request |= {"method": "POST", "body": json.dumps(body)}
            request["headers"]["Content-Type"] = "application/json"
        done = subprocess.run(
            [node, str(READ)],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result: Json = json.loads(done.stdout)
        assert (result["status"], result["faults"]) == (200, [])
        assert [1000 <= retry <= 3000 for retry in result["retries"]] == [True]
        return result

    return run


def stored(stand: Standing, generation_id: str) -> list[Json]:
    """The events of an answer that has ended, by another way than a stream."""
    events: list[Json] = []
    position = ""
    while True:
        page: Json = stand.client.get(
            f"/api/generations/{generation_id}/events?wait=10{position}",
            headers={"Accept": "application/json"},
        ).json()
        events += page["events"]
        if page["done"]:
            return events
        position = f"&after={page['position']}"


def frames(events: list[Json], form: str) -> list[Json]:
    """What a reader has to make of the events: `data` as it is, or the JSON in it."""
    done: Json = {"data": DONE}
    if form == "events":
        return [_named(event) for event in events] + [done]
    tokens = [event for event in events if event["type"] == "token"]
    shown: list[Json] = [{"data": token["text"], "id": token["position"]} for token in tokens]
    return [*shown, done | {"id": events[-1]["position"]}]


def _named(event: Json) -> Json:
    members = {name: value for name, value in event.items() if name not in {"position", "type"}}
    return {"event": event["type"], "data": members, "id": event["position"]}


def decoded(read: list[Json]) -> list[Json]:
    """The same of what was read."""
    return [
        frame | {"data": json.loads(frame["data"])} if "event" in frame else frame for frame in read
    ]


def assert_read(stand: Standing, result: Json, generation_id: str, form: str) -> list[Json]:
    """The stream showed what is stored, event by event; the frames."""
    kept = stand.generation(generation_id)
    events = stored(stand, generation_id)
    assert kept["text"] == TEXT
    assert "".join(event["text"] for event in events if event["type"] == "token") == TEXT
    expected = frames(events, form)
    assert decoded(result["events"]) == expected
    return expected


@BOTH
def test_eventsource_parser_reads_an_answer_that_it_attaches_to(
    stand: Standing, read: Read, form: str
) -> None:
    asked = in_background(stand, Answer(WORDS), form)
    generation_id: str = asked["generation_id"]
    expected = assert_read(stand, read(asked["events_url"]), generation_id, form)

    position = expected[len(expected) // 2]["id"]
    path = f"/api/generations/{generation_id}/events?format={form}"
    rest = expected[len(expected) // 2 + 1 :]
    assert decoded(read(path, **{"Last-Event-ID": position})["events"]) == rest
    assert decoded(read(f"{path}&after={position}")["events"]) == rest


@BOTH
def test_eventsource_parser_reads_an_answer_that_it_asks_for_and_asks_for_again(
    stand: Standing, read: Read, form: str
) -> None:
    body = {"prompt": stand.prompt(Answer(WORDS)), "format": form}
    key = {"Idempotency-Key": f"of eventsource-parser, {form}"}
    first = read(GENERATE, body, **key)
    expected = assert_read(stand, first, first["generation"], form)

    position = expected[len(expected) // 2]["id"]
    again = read(GENERATE, body, **key, **{"Last-Event-ID": position})
    assert again["generation"] == first["generation"]
    assert decoded(again["events"]) == expected[len(expected) // 2 + 1 :]


def test_eventsource_parser_reads_the_plainest_stream(stand: Standing, read: Read) -> None:
    result = read(GENERATE, {"prompt": stand.prompt(Answer(WORDS))})
    assert {tuple(frame) for frame in result["events"]} == {("data",)}
    *words, done = [frame["data"] for frame in result["events"]]
    assert ("".join(words), done) == (TEXT, DONE)


# Against the standard, fetch-event-source 2.0.1 loses line breaks and byte order marks where a
# frame's data begins with them; in the dialect `events` it begins with a brace. It also takes an
# id as read as soon as its line is there, before the frame has ended: the cuts here are elsewhere.
FETCHED: Final[dict[str, tuple[str, ...]]] = {
    "events": PIECES,
    "text": tuple(
        "lost" if piece.startswith(("\n", "\r", "\ufeff")) else piece for piece in PIECES
    ),
}


@BOTH
@pytest.mark.usefixtures("npm_packages")
def test_fetch_event_source_resumes_its_post_after_cuts(
    stand: Standing, tab: Tab, proxy: Cutting, form: str
) -> None:
    pieces = FETCHED[form]
    stand.provider.hold()
    prompt = stand.prompt(Answer(pieces, gate_after=MIDDLE))
    asks, generations = len(stand.provider.asks), count(stand)
    proxy.cut_after(CUT_IN_WIDE, None, CUT_IN_WIDE)
    request: dict[str, Any] = {
        "url": f"{proxy.url}{GENERATE}",
        "headers": stand.user.headers | {"Idempotency-Key": f"of fetch-event-source, {form}"},
        "body": {"prompt": prompt, "format": form},
    }
    start = "async ({ url, headers, body }) => { window.reader = await post(url, headers, body) }"
    tab.run(start, request)
    tab.until("text => reader.text === text || reader.ended", cleaned(pieces[:MIDDLE]))
    held = tab.run("reader.position")
    assert proxy.cuts.value == 1
    assert proxy.cut_now()
    stand.provider.release()
    tab.until("reader.ended")
    assert tab.run("[reader.ended, reader.done]") == ["whole", True]

    (generation_id,) = set(tab.run("reader.generations"))
    kept = stand.generation(generation_id)
    assert tab.run("reader.text") == kept["text"] == cleaned(pieces)
    assert (len(stand.provider.asks), count(stand)) == (asks + 1, generations + 1)
    posts = proxy.asked(GENERATE, "POST")
    assert len({post.headers["idempotency-key"] for post in posts}) == 1
    lost = tab.run("reader.lost")
    assert [post.headers.get("last-event-id") for post in posts] == [None, *lost]
    assert (len(lost), lost[1]) == (3, held)
    assert proxy.asked(GENERATE, "OPTIONS") != []  # another origin: the browser asked first


def count(stand: Standing) -> int:
    ((number,),) = stand.rows("SELECT count(*) FROM generations")
    return number
