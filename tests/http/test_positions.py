"""Positions: which of two counts, which are none, and what is sent where one cannot be honoured."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from attaching import (
    ELSEWHERE,
    END,
    MALFORMED,
    MALFORMED_IN_A_QUERY,
    PIECES,
    after_retry,
    attach,
    finished,
    following,
    frame_of,
    frames_of,
    gated,
    path_of,
    poll,
    reset_and_end,
)
from provider import BEFORE_HEADERS, Answer
from runnel.streamlog.batches import _ENCODED_BATCHES
from standing import Standing, standing
from wire import NOBODYS_ID, problem

FORMS = ("text", "events")


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("positions")) as there:
        yield there


@pytest.fixture(scope="module")
def whole(stand: Standing) -> str:
    """A finished answer."""
    return finished(stand)


def refused(answer: httpx.Response, field: str) -> None:
    body = problem(answer, 400, "invalid_request", more={"errors"})
    assert [error["field"] for error in body["errors"]] == [field]


def test_last_event_id_beats_after(stand: Standing, whole: str) -> None:
    frames = frames_of(stand, whole, "text")
    for after in ("1-1", "1-5", END, "7-7"):
        answer = attach(stand.client, whole, last="1-3", after=after, format="text")
        assert answer == b"".join(frames[4:])
        assert attach(stand.client, whole, last=END, after=after) == b""
        headers = {"Last-Event-ID": "1-4", "Accept": "application/json"}
        page = stand.client.get(path_of(whole), params={"after": after}, headers=headers).json()
        assert page["events"][0]["position"] == "1-5"


def test_an_empty_position_is_none(stand: Standing, whole: str) -> None:
    frames = frames_of(stand, whole, "text")
    for headers, query, behind in (
        ({"Last-Event-ID": ""}, {"after": ""}, 0),
        ({"Last-Event-ID": ""}, {}, 0),
        ({"Last-Event-ID": ""}, {"after": "1-3"}, 4),
        ({"Last-Event-ID": "1-3"}, {"after": ""}, 4),
    ):
        params = query | {"format": "text"}
        answer = stand.client.get(path_of(whole), params=params, headers=headers)
        assert after_retry(answer.content) == b"".join(frames[behind:])


@pytest.mark.parametrize("accept", ["text/event-stream", "application/json"])
@pytest.mark.parametrize("position", MALFORMED)
def test_a_malformed_position_is_refused(
    stand: Standing, whole: str, position: str, accept: str
) -> None:
    for headers, query, field in (
        ({"Last-Event-ID": position}, {}, "Last-Event-ID"),
        ({"Last-Event-ID": position}, {"after": "1-1"}, "Last-Event-ID"),
        ({}, {"after": position}, "after"),
        ({"Last-Event-ID": ""}, {"after": position}, "after"),
    ):
        answer = stand.client.get(
            path_of(whole), params=query, headers={"Accept": accept, **headers}
        )
        refused(answer, field)
        assert position[:100] not in answer.text or len(position) < 5


@pytest.mark.parametrize("position", MALFORMED_IN_A_QUERY)
def test_a_position_in_a_query_has_one_spelling(stand: Standing, whole: str, position: str) -> None:
    for accept in ("text/event-stream", "application/json"):
        headers = {"Accept": accept}
        answer = stand.client.get(path_of(whole), params={"after": position}, headers=headers)
        refused(answer, "after")


@pytest.mark.parametrize("value", [b"\xef\xbc\x91-1", b"\xff-\xfe", b"1-\xb9", b"1-1\xa0"])
def test_a_header_that_is_not_ascii_is_no_position(
    stand: Standing, whole: str, value: bytes
) -> None:
    headers = [(b"Last-Event-ID", value)]
    refused(stand.client.get(path_of(whole), headers=headers), "Last-Event-ID")


def test_a_malformed_position_does_not_tell_whether_there_is_such_an_answer(
    stand: Standing,
) -> None:
    refused(stand.client.get(path_of(NOBODYS_ID), params={"after": "1"}), "after")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ELSEWHERE)
def test_a_position_that_a_finished_answer_has_not_gets_the_whole_text_and_the_end(
    stand: Standing, whole: str, place: str, form: str
) -> None:
    expected = reset_and_end(stand, whole, form)
    assert b"id: 1-5\n\n" in expected
    assert attach(stand.client, whole, place, format=form) == expected


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["1-3", *ELSEWHERE])
def test_a_position_that_a_running_answer_has_not_gets_the_text_so_far_and_then_on(
    stand: Standing, place: str, form: str
) -> None:
    with gated(stand) as generation_id:
        with following(stand.client, generation_id) as incoming:
            incoming.until(b"id: 1-2\n\n")
        so_far = frame_of(form, "reset", {"text": "".join(PIECES[:2])}, "1-2")
        with following(stand.client, generation_id, place, format=form) as incoming:
            incoming.until(b"id: 1-2\n\n")
            stand.provider.release()
            body = after_retry(incoming.rest())
        frames = frames_of(stand, generation_id, form)
    assert body == so_far + b"".join(frames[3:])


@pytest.mark.parametrize("form", FORMS)
def test_a_position_before_there_is_any_text_gets_an_empty_text_and_then_on(
    stand: Standing, form: str
) -> None:
    with gated(stand, BEFORE_HEADERS) as generation_id:
        with following(stand.client, generation_id, "1-4", format=form) as incoming:
            incoming.until(b"id: 1-0\n\n")
            stand.provider.release()
            body = after_retry(incoming.rest())
        frames = frames_of(stand, generation_id, form)
    assert body == frame_of(form, "reset", {"text": ""}, "1-0") + b"".join(frames[1:])


@pytest.mark.parametrize("form", FORMS)
def test_at_the_end_there_is_nothing_to_come(stand: Standing, whole: str, form: str) -> None:
    for _ in range(3):
        assert attach(stand.client, whole, END, format=form) == b""
        assert attach(stand.client, whole, after=END, format=form) == b""
    page = poll(stand.client, whole, END, wait=30)
    assert page == {"events": [], "position": END, "done": True}


def test_what_is_read_again_is_not_kept_in_memory_as_it_was_written(stand: Standing) -> None:
    # Only the newest batches are read by many at once. What all attaches of an hour leave
    # behind would be several times LOG_TOTAL_BYTES, which does not count it.
    # What comes together is one batch.
    generation_id = finished(stand, Answer([f"{number} " for number in range(200)], delay=0.002))
    for form in FORMS:
        attach(stand.client, generation_id, format=form)
        attach(stand.client, generation_id, "1-7", format=form)
    log = stand.log.log_of(generation_id)
    assert log is not None
    assert len(log.batches) > 50
    assert len([batch for batch in log.batches if batch.frames]) <= _ENCODED_BATCHES
