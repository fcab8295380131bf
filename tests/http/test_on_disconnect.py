"""`on_disconnect: "abort"`: an answer that nobody follows for the grace is not made to its end."""

import asyncio
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from audience import (
    ABORTING,
    CHAT,
    GATED,
    GENERATE,
    GRACE,
    Clock,
    alone,
    asked,
    asking,
    assert_deserted,
    assert_goes_on,
    assert_nothing_left,
    attached,
    reading,
    running,
)
from provider import BEFORE_HEADERS, Answer
from standing import Json, Standing, standing
from waiting import until

STREAMS: list[tuple[str, Json]] = [
    (GENERATE, {}),
    (GENERATE, {"format": "events"}),
    (CHAT, {"stream": True}),
]
JSON_PAGE = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("disconnect")
    with standing(
        migrated, folder, disconnect_grace_seconds=GRACE, headers_after_seconds=0.05
    ) as there:
        yield there


@pytest.fixture(autouse=True)
def nothing_is_left(stand: Standing) -> Iterator[None]:
    stand.provider.hold()
    yield
    assert_nothing_left(stand)


@pytest.fixture
def clock(stand: Standing, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(stand, monkeypatch)


@pytest.mark.parametrize(("path", "body"), STREAMS)
def test_who_leaves_a_stream_and_does_not_come_back_ends_the_answer(
    stand: Standing, path: str, body: Json
) -> None:
    left = stand.provider.client_left.value
    with asked(stand, path=path, **body) as generation_id:
        pass
    stand.provider.client_left.wait_at_least(left + 1)  # nothing more is paid for
    assert_deserted(stand, generation_id)


def test_who_leaves_before_the_first_token_ends_it_too(stand: Standing) -> None:
    left = stand.provider.client_left.value
    with asked(stand, Answer(gate_after=BEFORE_HEADERS)) as generation_id:
        stand.provider.at_gate.wait_at_least(1)
    stand.provider.client_left.wait_at_least(left + 1)
    assert_deserted(stand, generation_id, "")


async def test_a_json_client_that_leaves_ends_it(stand: Standing) -> None:
    left = stand.provider.client_left.value
    async with stand.server.client(stand.user) as client:
        post = client.post(CHAT, json={"message": stand.prompt(GATED)} | ABORTING)
        waiting = asyncio.create_task(post)
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        generation_id = await asyncio.to_thread(running, stand)
        waiting.cancel()
        await asyncio.to_thread(stand.provider.client_left.wait_at_least, left + 1)
    await asyncio.to_thread(assert_deserted, stand, generation_id)


async def test_a_json_client_that_stays_has_its_answer(stand: Standing, clock: Clock) -> None:
    async with stand.server.client(stand.user) as client:
        post = client.post(CHAT, json={"message": stand.prompt(GATED)} | ABORTING)
        waiting = asyncio.create_task(post)
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        await asyncio.to_thread(clock.pass_by, 1000)
        stand.provider.release()
        assert (await waiting).json()["text"] == "Hello world"


def test_who_attaches_within_the_grace_finds_it_going_on(stand: Standing, clock: Clock) -> None:
    with asked(stand) as generation_id:
        pass
    alone(stand)
    clock.pass_by(GRACE * 0.9)
    with attached(stand, generation_id) as (_, reader):
        clock.pass_by(1000)
        assert_goes_on(stand, generation_id)
        assert b"event: end\n" in reader.rest()


def test_who_asks_again_within_the_grace_finds_it_going_on(stand: Standing, clock: Clock) -> None:
    body = {"message": stand.prompt(GATED), "client_message_id": "back"} | ABORTING
    with reading(stand, "POST", GENERATE, json=body):
        pass
    alone(stand)
    clock.pass_by(GRACE * 0.9)
    with reading(stand, "POST", GENERATE, json=body) as (response, _):
        clock.pass_by(1000)
        assert_goes_on(stand, response.headers["X-Generation-Id"])


def test_a_second_reader_keeps_it_alive_until_it_leaves_as_well(
    stand: Standing, clock: Clock
) -> None:
    with ExitStack() as second:
        with asked(stand) as generation_id:
            second.enter_context(attached(stand, generation_id))
        clock.pass_by(1000)
        assert stand.generation(generation_id)["status"] == "running"
    alone(stand)
    clock.pass_by(GRACE)
    assert_deserted(stand, generation_id)


def test_to_see_its_state_or_to_be_a_stranger_is_not_to_follow_it(
    stand: Standing, clock: Clock
) -> None:
    stranger = stand.server.user("stranger")
    with asked(stand) as generation_id:
        pass
    alone(stand)
    clock.pass_by(GRACE * 0.9)
    url = f"/api/generations/{generation_id}"
    for path in (f"{url}/events", url):
        assert stand.client.get(path, headers=stranger.headers).status_code == 404
    assert stand.generation(generation_id)["status"] == "running"
    clock.pass_by(GRACE * 0.2)
    assert_deserted(stand, generation_id)


def test_who_polls_is_there_between_the_polls(stand: Standing, clock: Clock) -> None:
    with asked(stand) as generation_id:
        pass
    alone(stand)
    url = f"/api/generations/{generation_id}/events"
    for _ in range(3):
        page = stand.client.get(url, headers=JSON_PAGE).json()
        assert (page["position"], page["done"]) == ("1-1", False)
        clock.pass_by(35)
        assert stand.generation(generation_id)["status"] == "running"
    clock.pass_by(GRACE)
    assert_deserted(stand, generation_id)


def test_a_stream_beside_the_polls_does_not_end_their_being_there(
    stand: Standing, clock: Clock
) -> None:
    with asked(stand) as generation_id:
        url = f"/api/generations/{generation_id}/events"
        assert stand.client.get(url, headers=JSON_PAGE).json()["position"] == "1-1"
    alone(stand)
    clock.pass_by(30)
    assert_goes_on(stand, generation_id)


def test_who_is_gone_before_the_question_is_written_down_counts_from_then(
    stand: Standing, clock: Clock
) -> None:
    with locked(stand), closing(asking(stand, stand.prompt(GATED))):
        until(lambda: stand.held()["tasks"] == 1)
    # Gone, before there is even a row; the server notices, and waits the grace.
    stand.provider.at_gate.wait_at_least(1)
    alone(stand)
    generation_id = running(stand)
    clock.pass_by(GRACE)
    assert_deserted(stand, generation_id)


@contextmanager
def locked(stand: Standing) -> Generator[None]:
    """Nobody else can write to the database meanwhile."""
    file = stand.server.settings.data_dir / "runnel.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


@pytest.mark.parametrize("body", [{}, {"on_disconnect": "continue"}])
def test_else_an_answer_needs_nobody(stand: Standing, clock: Clock, body: Json) -> None:
    content = {"message": stand.prompt(GATED)} | body
    with reading(stand, "POST", GENERATE, json=content) as (response, _):
        pass
    alone(stand)
    clock.pass_by(1000)
    assert_goes_on(stand, response.headers["X-Generation-Id"])


def test_what_a_re_send_says_of_it_changes_nothing(stand: Standing, clock: Clock) -> None:
    body = {"message": stand.prompt(GATED), "client_message_id": "re-sent"}
    accepted = stand.client.post(CHAT, json=body | {"background": True}).json()
    with reading(stand, "POST", GENERATE, json=body | ABORTING) as (again, _):
        assert again.headers["X-Generation-Id"] == accepted["generation_id"]
    alone(stand)
    clock.pass_by(1000)
    assert_goes_on(stand, accepted["generation_id"])
