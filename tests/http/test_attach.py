"""Attaching to an answer over SSE: from wherever, whenever, the frames are the contract's."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from attaching import (
    END,
    PIECES,
    TEXT,
    after_retry,
    attach,
    ending,
    finished,
    following,
    frames_of,
    gated,
    path_of,
)
from provider import BEFORE_HEADERS, Answer
from reading import parsed_events, text_of, without_comments
from standing import Serve, Standing, standing
from waiting import until
from wire import refused_field

FORMS = ("text", "events")
ORIGIN = "https://page.example"
PLACES = [f"1-{offset}" for offset in range(len(PIECES) + 1)]


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("attach")) as there:
        yield there


@pytest.fixture(scope="module")
def lively(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Sends a heartbeat every moment; would keep the headers of a POST for long."""
    folder = tmp_path_factory.mktemp("lively")
    changes = {"heartbeat_seconds": 0.05, "headers_after_seconds": 60}
    with standing(migrated, folder, **changes) as there:
        yield there


@pytest.fixture(scope="module")
def whole(stand: Standing) -> str:
    """A finished answer."""
    return finished(stand)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("how", ["Last-Event-ID", "after"])
@pytest.mark.parametrize("place", ["", *PLACES, END])
def test_a_finished_answer_is_read_from_every_position_byte_for_byte(
    stand: Standing, whole: str, place: str, how: str, form: str
) -> None:
    frames = frames_of(stand, whole, form)
    behind = [*PLACES, END].index(place) + 1 if place else 0
    position = {"last" if how == "Last-Event-ID" else "after": place}
    assert attach(stand.client, whole, format=form, **position) == b"".join(frames[behind:])


def test_the_frames_are_the_ones_that_the_contract_shows(stand: Standing) -> None:
    generation_id = finished(stand, Answer(["Hello", " world"]))
    assert attach(stand.client, generation_id, format="text") == (
        b"data: Hello\nid: 1-1\n\ndata:  world\nid: 1-2\n\ndata: [DONE]\nid: 1-3\n\n"
    )
    body = attach(stand.client, generation_id)
    assert body.startswith(b'event: start\ndata: {"generation_id":"')
    assert b'\n\nevent: token\ndata: {"text":"Hello"}\nid: 1-1\n\n' in body
    assert b'event: end\ndata: {"finish_reason":"stop","usage":{"prompt_tokens":10,' in body
    assert body.endswith(b"id: 1-3\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize("form", FORMS)
def test_an_attach_has_the_headers_of_a_stream(stand: Standing, whole: str, form: str) -> None:
    response = stand.client.get(
        path_of(whole), params={"format": form}, headers={"Accept-Encoding": "gzip, br"}
    )
    headers = response.headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache, no-transform"
    assert headers["X-Accel-Buffering"] == "no"
    assert "Content-Encoding" not in headers


@pytest.mark.parametrize("form", ["", "xml", "TEXT", "text/plain"])
def test_another_format_is_refused(stand: Standing, whole: str, form: str) -> None:
    refused_field(stand.client.get(path_of(whole), params={"format": form}), "format")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["", *PLACES[:3]])
def test_who_attaches_in_mid_answer_reads_what_was_missed_and_then_live(
    stand: Standing, place: str, form: str
) -> None:
    with gated(stand) as generation_id:
        with following(stand.client, generation_id, place, format=form) as incoming:
            if place != "1-2":
                incoming.until(b"id: 1-2\n\n")
                assert b"[DONE]" not in incoming.body
            stand.provider.release()
            body = incoming.rest()
        frames = frames_of(stand, generation_id, form)
    behind = PLACES.index(place) + 1 if place else 0
    assert after_retry(without_comments(body)) == b"".join(frames[behind:])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gate_after", [BEFORE_HEADERS, 0])
def test_while_the_model_is_silent_headers_come_at_once_and_heartbeats_flow(
    lively: Standing, gate_after: int, form: str
) -> None:
    with gated(lively, gate_after) as generation_id:
        with following(lively.client, generation_id, format=form) as incoming:
            incoming.until(b": heartbeat\n\n", times=3)
            assert b"[DONE]" not in incoming.body
            lively.provider.release()
            body = without_comments(incoming.rest())
        frames = frames_of(lively, generation_id, form)
        assert after_retry(body) == b"".join(frames)


@pytest.mark.parametrize("form", FORMS)
def test_who_is_cut_off_goes_on_behind_what_was_read(stand: Standing, form: str) -> None:
    pieces = [f"{number} " for number in range(9)]
    with gated(stand, 5, pieces) as generation_id:
        with following(stand.client, generation_id, format=form) as incoming:
            first = after_retry(incoming.until(b"id: 1-3\n\n"))
        first = first[: first.index(b"id: 1-3\n\n") + len(b"id: 1-3\n\n")]
        with following(stand.client, generation_id, "1-3", format=form) as incoming:
            second = after_retry(incoming.until(b"id: 1-5\n\n"))
            assert second.count(b"id: ") == 2
        with following(stand.client, generation_id, "1-5", format=form) as incoming:
            stand.provider.release()
            third = after_retry(incoming.rest())
        frames = frames_of(stand, generation_id, form, pieces)
    assert first + second + third == b"".join(frames)


def test_the_dialect_may_change_between_two_cuts(stand: Standing) -> None:
    with gated(stand) as generation_id:
        with following(stand.client, generation_id, format="text") as incoming:
            incoming.until(b"id: 1-2\n\n")
        with following(stand.client, generation_id, "1-1", format="events") as incoming:
            stand.provider.release()
            events = parsed_events(after_retry(incoming.rest()))
    assert events[0].id == "1-2"
    assert PIECES[0] + text_of(events) == TEXT


@pytest.mark.parametrize("form", FORMS)
def test_two_readers_at_once_read_the_same_bytes(stand: Standing, form: str) -> None:
    with gated(stand) as generation_id:
        with (
            following(stand.client, generation_id, format=form) as early,
            following(stand.client, generation_id, format=form) as late,
        ):
            late.until(b"id: 1-2\n\n")
            stand.provider.release()
            bodies = [after_retry(incoming.rest()) for incoming in (early, late)]
        frames = frames_of(stand, generation_id, form)
    assert bodies == [b"".join(frames)] * 2


@pytest.mark.parametrize("form", FORMS)
def test_who_asked_and_who_attached_read_the_same_events(stand: Standing, form: str) -> None:
    stand.provider.hold()
    prompt = stand.prompt(Answer(PIECES, gate_after=2))
    body = {"message": prompt, "format": form, "client_message_id": prompt.replace(" ", "-")}
    with stand.client.stream("POST", "/api/generate", json=body) as asked:
        generation_id = asked.headers["X-Generation-Id"]
        with following(stand.client, generation_id, format=form) as incoming:
            incoming.until(b"id: 1-2\n\n")
            stand.provider.release()
            attached = after_retry(incoming.rest())
        assert after_retry(asked.read()) == attached
    assert attached == b"".join(frames_of(stand, generation_id, form))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(PIECES[:2], cut_after=2), "upstream_incomplete"),
        (Answer([*PIECES[:2], b'data: {"error": {"message": "no"}}\n\n']), "upstream_error"),
        (Answer(status=500), "upstream_error"),
    ],
    ids=["cut", "error in mid-answer", "error at once"],
)
def test_a_failed_answer_is_told_to_whoever_attaches_later(
    stand: Standing, answer: Answer, code: str, form: str
) -> None:
    pieces = () if answer.status == 500 else PIECES[:2]
    generation_id = finished(stand, answer)
    kept = stand.generation(generation_id)
    assert (kept["status"], kept["error"]["code"]) == ("failed", code)
    frames = frames_of(stand, generation_id, form, pieces)
    assert attach(stand.client, generation_id, format=form) == b"".join(frames)
    for offset in range(len(frames)):
        assert attach(stand.client, generation_id, f"1-{offset}", format=form) == b"".join(
            frames[offset + 1 :]
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("gate_after", [0, 2])
def test_an_aborted_answer_is_told_to_whoever_follows_and_attaches_later(
    stand: Standing, gate_after: int, form: str
) -> None:
    pieces = PIECES[:gate_after]
    with (
        gated(stand, gate_after) as generation_id,
        following(stand.client, generation_id, format=form) as incoming,
    ):
        if pieces:
            incoming.until(b"id: 1-2\n\n")
        aborted = stand.client.post(f"/api/generations/{generation_id}/abort")
        assert (aborted.status_code, aborted.json()["status"]) == (200, "aborted")
        live = after_retry(incoming.rest())
    frames = frames_of(stand, generation_id, form, pieces)
    assert stand.generation(generation_id)["text"] == "".join(pieces)
    assert b'event: aborted\ndata: {"by":"user","usage":{' in frames[-1]
    assert live == b"".join(frames)
    assert attach(stand.client, generation_id, format=form) == live
    last_but_one = f"1-{len(pieces)}"
    assert attach(stand.client, generation_id, last_but_one, format=form) == ending(
        stand, generation_id, form
    )
    assert attach(stand.client, generation_id, f"1-{len(pieces) + 1}", format=form) == b""


def test_attaching_and_polling_are_outside_the_message_limit(
    migrated: Path, tmp_path: Path
) -> None:
    with standing(migrated, tmp_path, rate_limit_messages_per_minute=1) as there:
        generation_id = finished(there)
        assert there.ask("/chat", Answer()).status_code == 429
        for _ in range(5):
            assert attach(there.client, generation_id, format="text").endswith(b"id: 1-6\n\n")
            assert attach(there.client, generation_id, END) == b""
        shown = there.client.get("/me").json()["limits"]
        assert shown["used"] == 1


def test_a_reader_that_is_gone_is_forgotten_though_the_model_says_nothing(stand: Standing) -> None:
    with gated(stand) as generation_id:
        for _ in range(5):
            with following(stand.client, generation_id) as incoming:
                incoming.until(b"id: 1-2\n\n")
        until(lambda: stand.held()["readers"] == 0)
        until(lambda: not len(stand.server.server.parts.chat._followers))
        assert stand.generation(generation_id)["status"] == "running"


def test_a_page_of_an_allowed_origin_may_attach_and_ask_with_a_key(serve: Serve) -> None:
    server = serve(cors_origins=ORIGIN)
    ana = server.user("ana")
    with httpx.Client(base_url=server.url, timeout=30) as http:
        for path, method, wanted in (
            ("/api/generate", "POST", "authorization, content-type, idempotency-key"),
            ("/chat", "POST", "authorization,content-type,idempotency-key,last-event-id"),
            (path_of("any"), "GET", "authorization, last-event-id"),
            ("/api/tickets", "POST", "authorization, content-type"),
            ("/api/generations/any/abort", "POST", "authorization"),
        ):
            preflight = {
                "Origin": ORIGIN,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": wanted,
            }
            allowed = http.options(path, headers=preflight)
            assert allowed.status_code == 200, allowed.text
            assert allowed.headers["access-control-allow-origin"] == ORIGIN
            assert method in allowed.headers["access-control-allow-methods"]
            granted = allowed.headers["access-control-allow-headers"].lower()
            for header in wanted.split(","):
                assert header.strip() in granted
        asked = http.post("/chat", json={"message": "hi"}, headers=ana.headers).json()
        headers = ana.headers | {"Origin": ORIGIN}
        events = http.get(path_of(asked["generation_id"]), headers=headers)
        assert events.headers["access-control-allow-origin"] == ORIGIN
        end = http.get(
            path_of(asked["generation_id"]),
            headers=headers | {"Last-Event-ID": parsed_events(after_retry(events.content))[-1].id},
        )
        assert end.status_code == 204
        assert end.headers["access-control-allow-origin"] == ORIGIN
