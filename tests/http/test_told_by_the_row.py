"""Answers whose log is gone, and ends that no producer here has written: the row tells them."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from attaching import (
    ELSEWHERE,
    END,
    PIECES,
    TEXT,
    attach,
    ending,
    finished,
    following,
    gated,
    path_of,
    poll,
    reset_and_end,
)
from provider import Answer
from reading import without_comments
from standing import Standing, standing
from waiting import until
from wire import problem, query

FORMS = ("text", "events")
LAST_BUT_ONE = "1-5"


@pytest.fixture(scope="module")
def fleeting(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Keeps no log of what has ended."""
    folder = tmp_path_factory.mktemp("fleeting")
    with standing(migrated, folder, stream_retention_seconds=0.001) as there:
        yield there


@pytest.fixture(scope="module")
def expired(fleeting: Standing) -> str:
    """A finished answer whose log is gone."""
    return expire(fleeting, finished(fleeting))


def expire(stand: Standing, generation_id: str) -> str:
    until(lambda: stand.log.log_of(generation_id) is None)
    return generation_id


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ["", "1-0", "1-1", "1-4"])
def test_once_the_log_is_gone_the_whole_text_and_the_end_come_from_the_store(
    fleeting: Standing, expired: str, place: str, form: str
) -> None:
    body = attach(fleeting.client, expired, place, format=form)
    assert body == reset_and_end(fleeting, expired, form)
    [[content]] = query(
        fleeting.server,
        "SELECT content FROM messages JOIN generations ON messages.id = message_id"
        " WHERE generations.id = ?",
        expired,
    )
    assert content == TEXT
    page = poll(fleeting.client, expired, place)
    reset, end = page["events"]
    assert (reset["type"], reset["text"], reset["position"]) == ("reset", TEXT, LAST_BUT_ONE)
    assert (end["type"], end["position"]) == ("end", END)
    assert (page["position"], page["done"]) == (END, True)


@pytest.mark.parametrize("form", FORMS)
def test_once_the_log_is_gone_who_has_all_the_text_gets_the_end_alone(
    fleeting: Standing, expired: str, form: str
) -> None:
    body = attach(fleeting.client, expired, LAST_BUT_ONE, format=form)
    assert body == ending(fleeting, expired, form)
    [end] = poll(fleeting.client, expired, LAST_BUT_ONE)["events"]
    assert (end["type"], end["position"]) == ("end", END)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", ELSEWHERE)
def test_once_the_log_is_gone_a_position_that_never_was_gets_the_whole_text_and_the_end(
    fleeting: Standing, expired: str, place: str, form: str
) -> None:
    body = attach(fleeting.client, expired, place, format=form)
    assert body == reset_and_end(fleeting, expired, form)


@pytest.mark.parametrize("form", FORMS)
def test_once_the_log_is_gone_there_is_still_nothing_to_come_at_the_end(
    fleeting: Standing, expired: str, form: str
) -> None:
    for _ in range(3):
        assert attach(fleeting.client, expired, END, format=form) == b""
        assert attach(fleeting.client, expired, after=END, format=form) == b""
    page = poll(fleeting.client, expired, END, wait=30)
    assert page == {"events": [], "position": END, "done": True}


@pytest.mark.parametrize("answer", [Answer(PIECES[:1], cut_after=1), Answer(status=500)])
def test_once_the_log_is_gone_a_failed_answer_is_still_told(
    fleeting: Standing, answer: Answer
) -> None:
    generation_id = expire(fleeting, finished(fleeting, answer))
    for form in FORMS:
        expected = reset_and_end(fleeting, generation_id, form)
        assert b"event: failed\n" in expected
        for place in ("", "7-7"):
            assert attach(fleeting.client, generation_id, place, format=form) == expected
        end = fleeting.generation(generation_id)["position"]
        assert attach(fleeting.client, generation_id, end, format=form) == b""


@pytest.fixture(scope="module")
def looking(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Looks at the rows of those who have heard nothing for a moment."""
    folder = tmp_path_factory.mktemp("looking")
    with standing(migrated, folder, heartbeat_seconds=0.1) as there:
        yield there


ENDS: dict[str, dict[str, object]] = {
    "aborted": {"aborted_by": "user"},
    "completed": {"finish_reason": "stop", "first_token_ms": 3},
    "interrupted": {
        "error_code": "interrupted",
        "error_message": "Stopped.",
        "error_retryable": True,
    },
}


def end_elsewhere(stand: Standing, generation_id: str, status: str, text: str) -> None:
    """What another instance does that has taken the answer over and ended it in a new epoch."""
    message = "SELECT message_id FROM generations WHERE id = ?"
    values = ENDS[status] | {
        "status": status,
        "last_offset": 1,
        "completion_tokens": 2,
        "usage_source": "estimated",
        "latency_ms": 9,
    }
    columns = ", ".join(f"{name} = ?" for name in values)
    file = stand.server.settings.data_dir / "runnel.db"
    with closing(sqlite3.connect(file, timeout=10)) as database, database:
        database.execute(
            f"UPDATE messages SET content = ? WHERE id = ({message})",  # noqa: S608 - our own words
            (text, generation_id),
        )
        database.execute(
            f"UPDATE generations SET epoch = epoch + 1, {columns} WHERE id = ?",  # noqa: S608 - same
            (*values.values(), generation_id),
        )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", ENDS)
@pytest.mark.parametrize("place", ["", "1-2"])
def test_who_waits_is_told_an_end_that_was_written_elsewhere(
    looking: Standing, place: str, status: str, form: str
) -> None:
    with gated(looking) as generation_id:
        with following(looking.client, generation_id, place, format=form) as incoming:
            incoming.until(b"id: 1-2\n\n" if not place else b": heartbeat\n\n")
            end_elsewhere(looking, generation_id, status, "Hello, from elsewhere")
            body = without_comments(incoming.rest())
        expected = reset_and_end(looking, generation_id, form)
        assert b"id: 2-0\n\n" in expected
        assert body.endswith(expected)
        assert b"event: reset" not in body.removesuffix(expected)
        # And so is whoever comes now, wherever the log of the answer that is still made stands.
        for last in ("", "1-1", "1-9"):
            assert attach(looking.client, generation_id, last, format=form) == expected
        assert attach(looking.client, generation_id, "2-1", format=form) == b""
    for last in ("", "1-1", END):
        assert attach(looking.client, generation_id, last, format=form) == expected
    assert looking.generation(generation_id)["text"] == "Hello, from elsewhere"


def test_who_polls_is_told_an_end_that_was_written_elsewhere(looking: Standing) -> None:
    with gated(looking) as generation_id, ThreadPoolExecutor(1) as pool:
        until(lambda: poll(looking.client, generation_id)["position"] == "1-2")
        polling = pool.submit(poll, looking.client, generation_id, "1-2", wait=30)
        until(lambda: looking.held()["readers"] == 1)
        end_elsewhere(looking, generation_id, "aborted", "elsewhere")
        page = polling.result(timeout=15)
    assert [(event["position"], event["type"]) for event in page["events"]] == [
        ("2-0", "reset"),
        ("2-1", "aborted"),
    ]
    assert page["events"][0]["text"] == "elsewhere"
    assert (page["position"], page["done"]) == ("2-1", True)


@pytest.mark.parametrize("form", FORMS)
def test_who_reads_what_is_still_made_here_is_never_told_an_end_with_another_text(
    fleeting: Standing, form: str
) -> None:
    with gated(fleeting) as generation_id:
        with following(fleeting.client, generation_id, format=form) as incoming:
            incoming.until(b"id: 1-2\n\n")
            end_elsewhere(fleeting, generation_id, "aborted", "elsewhere")
            fleeting.provider.release()
            body = incoming.rest()
        # The producer learns of it when it wants to end; it must not bless what nobody kept.
        expected = reset_and_end(fleeting, generation_id, form)
        assert b"[DONE]" not in body or body.endswith(expected)
        assert attach(fleeting.client, generation_id, "1-5", format=form) == expected


@pytest.mark.parametrize("form", FORMS)
def test_who_waits_for_what_was_purged_is_closed_without_an_end(
    looking: Standing, form: str
) -> None:
    with gated(looking) as generation_id:
        with following(looking.client, generation_id, format=form) as incoming:
            incoming.until(b"id: 1-2\n\n")
            query(looking.server, "DELETE FROM generations WHERE id = ?", generation_id)
            assert b"[DONE]" not in incoming.rest()
        for headers in ({}, {"Last-Event-ID": "1-2"}, {"Accept": "application/json"}):
            answer = looking.client.get(path_of(generation_id), headers=headers)
            problem(answer, 404, "not_found")
