"""The polling fallback: the same events on the same cursor, page by page, as JSON."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from attaching import (
    END,
    PIECES,
    TEXT,
    after_retry,
    attach,
    finished,
    following,
    gated,
    path_of,
    poll,
)
from provider import BEFORE_HEADERS, Answer
from reading import parsed_events, text_of, without_comments
from standing import Json, Standing, standing
from waiting import until
from wire import query, refused_field

#: News come at once; this is only to fail by, before a `wait` would end by itself.
SOON = 15
PAGE_BYTES = 256 * 1024


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("polling")) as there:
        yield there


@pytest.fixture(scope="module")
def paging(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Gives as little at a time as it can."""
    with standing(migrated, tmp_path_factory.mktemp("paging"), read_page_bytes=1) as there:
        yield there


@pytest.fixture(scope="module")
def whole(stand: Standing) -> str:
    """A finished answer."""
    return finished(stand)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


def pages(client: httpx.Client, generation_id: str, after: str = "") -> list[Json]:
    """All pages up to the one that says it is done, each begun where the one before ended."""
    read = [poll(client, generation_id, after, wait=SOON)]
    while not read[-1]["done"]:
        read.append(poll(client, generation_id, read[-1]["position"], wait=SOON))
        assert read[-1]["events"]
    return read


def assert_chained(read: list[Json], behind: int = -1) -> list[Json]:
    """No gap and no repeat from page to page; all their events."""
    events = [event for page in read for event in page["events"]]
    assert [event["position"] for event in events] == [
        f"1-{behind + 1 + number}" for number in range(len(events))
    ]
    for page in read:
        assert page["position"] == page["events"][-1]["position"]
    assert [page["done"] for page in read] == [False] * (len(read) - 1) + [True]
    return events


def text(events: list[Json]) -> str:
    return "".join(event["text"] for event in events if event["type"] == "token")


def test_a_page_has_the_events_that_the_stream_has(stand: Standing, whole: str) -> None:
    streamed = parsed_events(attach(stand.client, whole))
    page = poll(stand.client, whole)
    assert page["events"] == [
        {"position": event.id, "type": event.name, **event.data} for event in streamed
    ]
    assert (page["position"], page["done"]) == (END, True)


@pytest.mark.parametrize("place", ["1-0", "1-3", "1-5"])
def test_a_page_begins_behind_the_position(stand: Standing, whole: str, place: str) -> None:
    all_of_it = poll(stand.client, whole)["events"]
    rest = all_of_it[int(place[2:]) + 1 :]
    expected = {"events": rest, "position": END, "done": True}
    assert poll(stand.client, whole, place) == expected
    headers = {"Last-Event-ID": place, "Accept": "application/json"}
    answer = stand.client.get(path_of(whole), headers=headers)
    assert answer.json() == expected
    assert answer.headers["cache-control"] == "no-store"


def test_small_pages_chain_without_gap_or_repeat(paging: Standing) -> None:
    generation_id = finished(paging, Answer([f"{number} " for number in range(30)], delay=0.002))
    read = pages(paging.client, generation_id)
    assert len(read) >= 3  # the start, the tokens, the end: nothing of these came together
    assert text(assert_chained(read)) == "".join(f"{number} " for number in range(30))
    for begin in (0, 7, 30):
        assert_chained(pages(paging.client, generation_id, f"1-{begin}"), behind=begin)


def test_a_long_answer_comes_in_pages_with_a_bound(stand: Standing) -> None:
    pieces = [f"{number:03}" * 5000 for number in range(100)]
    generation_id = finished(stand, Answer(pieces))
    read = pages(stand.client, generation_id)
    assert text(assert_chained(read)) == "".join(pieces)
    assert len(read) > 3
    sizes = [len(json.dumps(page)) for page in read]
    # A page ends with the batch that fills it; a batch is what one read of the provider's gave.
    assert max(sizes) < 3 * PAGE_BYTES


def test_a_poller_that_comes_again_and_again_reads_an_answer_live(paging: Standing) -> None:
    pieces = [f"{number} " for number in range(40)]
    with gated(paging, 20, pieces) as generation_id:
        read = [poll(paging.client, generation_id)]
        while read[-1]["position"] != "1-20":
            read.append(poll(paging.client, generation_id, read[-1]["position"], wait=SOON))
        paging.provider.release()
        read += pages(paging.client, generation_id, "1-20")
        events = [event for page in read for event in page["events"]]
        assert [event["position"] for event in events] == [f"1-{n}" for n in range(42)]
        assert text(events) == "".join(pieces)


def test_the_door_may_change_between_polls(stand: Standing) -> None:
    with gated(stand) as generation_id:
        first = poll(stand.client, generation_id, wait=SOON)
        with following(stand.client, generation_id, first["position"]) as incoming:
            incoming.until(b"id: 1-2\n\n" if first["position"] != "1-2" else b"retry: ")
            stand.provider.release()
            incoming.until(b"id: 1-4\n\n")
        streamed = incoming.body[: incoming.body.index(b"id: 1-4\n\n")] + b"id: 1-4\n\n"
        streamed = after_retry(without_comments(streamed)) + b"data: [DONE]\n\n"
        last = pages(stand.client, generation_id, "1-4")
    assert text(first["events"]) + text_of(parsed_events(streamed)) + PIECES[4] == TEXT
    assert text(assert_chained(last, behind=4)) == PIECES[4]


def polling(
    pool: ThreadPoolExecutor, stand: Standing, generation_id: str, after: str, **query: Any
) -> Future[Json]:
    """A poll that is waiting on the server."""
    future = pool.submit(poll, stand.client, generation_id, after, **query)
    until(lambda: stand.held()["readers"] == 1)
    return future


def test_wait_holds_until_there_is_news_and_not_longer(
    stand: Standing, pool: ThreadPoolExecutor
) -> None:
    with gated(stand) as generation_id:
        until(lambda: poll(stand.client, generation_id)["position"] == "1-2")
        waiting = polling(pool, stand, generation_id, "1-2", wait=30)
        assert not waiting.done()
        stand.provider.release()
        page = waiting.result(SOON)
        assert page["events"][0]["position"] == "1-3"


def test_wait_holds_for_the_first_token_and_for_the_end(
    stand: Standing, pool: ThreadPoolExecutor
) -> None:
    with gated(stand, BEFORE_HEADERS) as generation_id:
        [start] = poll(stand.client, generation_id, wait=SOON)["events"]
        assert (start["type"], start["position"]) == ("start", "1-0")
        waiting = polling(pool, stand, generation_id, "1-0", wait=30)
        stand.provider.release()
        assert waiting.result(SOON)["events"][0]["type"] == "token"
    with gated(stand, len(PIECES)) as generation_id:
        until(lambda: poll(stand.client, generation_id)["position"] == "1-5")
        waiting = polling(pool, stand, generation_id, "1-5", wait=30)
        stand.client.post(f"/api/generations/{generation_id}/abort")
        page = waiting.result(SOON)
        assert [event["type"] for event in page["events"]] == ["aborted"]
        assert (page["position"], page["done"]) == (END, True)


def test_without_news_the_position_stays_and_nothing_is_lost(stand: Standing) -> None:
    with gated(stand) as generation_id:
        until(lambda: poll(stand.client, generation_id)["position"] == "1-2")
        nothing: Json = {"events": [], "position": "1-2", "done": False}
        assert poll(stand.client, generation_id, "1-2") == nothing
        assert poll(stand.client, generation_id, "1-2", wait=0) == nothing
        began = time.monotonic()
        assert poll(stand.client, generation_id, "1-2", wait=0.2) == nothing
        assert time.monotonic() - began >= 0.2
        stand.provider.release()
        assert_chained(pages(stand.client, generation_id, "1-2"), behind=2)


def test_wait_does_not_hold_where_there_is_something(stand: Standing, whole: str) -> None:
    with gated(stand) as generation_id:
        until(lambda: poll(stand.client, generation_id)["position"] == "1-2")
        began = time.monotonic()
        for after in ("", "1-0", "1-1", "1-99", "2-0"):
            assert poll(stand.client, generation_id, after, wait=30)["position"] == "1-2"
        for after in ("", "1-3", END):
            assert poll(stand.client, whole, after, wait=30)["done"]
        assert time.monotonic() - began < 30


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize(
    "wait", ["30.001", "31", "-1", "-0.001", "1e400", "nan", "inf", "-inf", "soon", "", "1,5", "½"]
)
def test_a_wait_that_is_none_is_refused(
    stand: Standing, whole: str, wait: str, accept: str
) -> None:
    answer = stand.client.get(path_of(whole), params={"wait": wait}, headers={"Accept": accept})
    refused_field(answer, "wait")


@pytest.mark.parametrize("wait", ["0", "0.5", "30", "30.0", "1e1"])
def test_a_wait_up_to_thirty_seconds_is_taken(stand: Standing, whole: str, wait: str) -> None:
    assert poll(stand.client, whole, END, wait=wait)["done"]


JSON = "application/json"
SSE = "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (JSON, JSON),
        ("application/json, text/plain, */*", JSON),  # axios
        ("application/json;charset=utf-8", JSON),
        ("text/plain,application/json;q=0.9", JSON),
        ("Application/JSON", JSON),
        ("text/event-stream", SSE),
        ("text/event-stream, application/json", SSE),
        ("application/json, text/event-stream", SSE),
        ("Text/Event-Stream, application/json", SSE),
        ("*/*", SSE),
        ("", SSE),
        (None, SSE),
        ("text/html,application/xhtml+xml,*/*;q=0.8", SSE),
        ("application/jsonlines", SSE),
        ("application/json-seq, */*", SSE),
        ("application/*", SSE),
        ("image/png", SSE),
    ],
)
def test_json_is_for_who_accepts_it_and_no_stream(
    stand: Standing, whole: str, accept: str | None, kind: str
) -> None:
    with httpx.Client(base_url=stand.server.url, headers=stand.user.headers) as client:
        del client.headers["Accept"]
        headers = {} if accept is None else {"Accept": accept}
        answer = client.get(path_of(whole), headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        ended = client.get(path_of(whole), params={"after": END}, headers=headers)
        assert ended.status_code == (200 if kind == JSON else 204)


def test_before_anything_is_written_there_is_no_position(stand: Standing, whole: str) -> None:
    queued = "01890000-0000-7000-8000-00000000aaaa"
    copy_as_queued(stand, whole, queued)
    nothing: Json = {"events": [], "position": None, "done": False}
    assert poll(stand.client, queued) == nothing
    assert stand.generation(queued)["position"] is None
    with following(stand.client, queued) as incoming:
        incoming.until(b"retry: ")
        assert poll(stand.client, queued, wait=0.1) == nothing
    query(stand.server, "DELETE FROM generations WHERE id = ?", queued)


def copy_as_queued(stand: Standing, source: str, new: str) -> None:
    """A generation that is written down, and that nobody makes yet."""
    query(
        stand.server,
        "INSERT INTO messages"
        " (id, session_id, parent_id, role, content, created_at, stem_id, depth)"
        " SELECT ?, session_id, parent_id, role, '', created_at, ?, depth FROM messages"
        " WHERE id = (SELECT message_id FROM generations WHERE id = ?)",
        new,
        new,
        source,
    )
    names: list[str] = [row[1] for row in query(stand.server, "PRAGMA table_info(generations)")]
    changed = {
        "id": "?",
        "message_id": "?",
        "status": "'queued'",
        "epoch": "0",
        "last_offset": "NULL",
    }
    values = ", ".join(changed.get(name, name) for name in names)
    query(
        stand.server,
        f"INSERT INTO generations SELECT {values} FROM generations WHERE id = ?",  # noqa: S608 - our own words
        *(new, new, source),
    )
