# pyright: reportUnusedImport=false
# ruff: noqa: F401
"""The polling fallback where the logs are in Redis: the same bodies, word for word."""

import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_polling import (
    pool,
    test_a_long_answer_comes_in_pages_with_a_bound,
    test_a_page_begins_behind_the_position,
    test_a_page_has_the_events_that_the_stream_has,
    test_a_poller_that_comes_again_and_again_reads_an_answer_live,
    test_small_pages_chain_without_gap_or_repeat,
    test_the_door_may_change_between_polls,
    test_wait_does_not_hold_where_there_is_something,
    test_wait_holds_for_the_first_token_and_for_the_end,
    test_wait_holds_until_there_is_news_and_not_longer,
    test_without_news_the_position_stays_and_nothing_is_lost,
    whole,
)

import postgres
import redis_server
from attaching import finished, poll
from standing import Standing, standing


@contextmanager
def over_redis(migrated: Path, folder: Path, **changes: Any) -> Generator[Standing]:
    database = postgres.shared().create(template=postgres.TEMPLATE)
    prefix = f"test-{uuid.uuid4().hex}"
    url = redis_server.shared().url
    with standing(
        migrated, folder, database_url=database, redis_url=url, redis_key_prefix=prefix, **changes
    ) as there:
        yield there
    postgres.shared().drop(database)


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with over_redis(migrated, tmp_path_factory.mktemp("polling")) as there:
        yield there


@pytest.fixture(scope="module")
def paging(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Gives as little at a time as it can."""
    with over_redis(migrated, tmp_path_factory.mktemp("paging"), read_page_bytes=1) as there:
        yield there


def test_readiness_names_redis(stand: Standing) -> None:
    assert stand.client.get("/readyz").json()["components"]["redis"] == "ok"


def test_a_poll_without_wait_has_what_is_in_no_memory_of_the_server(stand: Standing) -> None:
    """Whose log has no reader is held nowhere but in Redis."""
    generation_id = finished(stand)
    assert stand.held()["readers"] == 0
    page = poll(stand.client, generation_id)
    assert (len(page["events"]), page["done"]) == (7, True)
