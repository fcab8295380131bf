"""Postgres that is away, in whatever way, is `store_unavailable` and no more; a wrong statement is not."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from answers import Chat
from postgres import Postgres, migrated_copy
from runnel.chat.entities import Ending, Fitted, Status
from runnel.chat.ports import Checkpoint
from runnel.errors import Code, RunnelError
from runnel.events import Position, Usage
from runnel.store import shown
from runnel.store.engine import Database
from waiting import POLL_SECONDS, POLLS

PATIENCE = 0.5
ENDS_ALL = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


@pytest.fixture(scope="module")
def url(own_postgres: Postgres) -> str:
    return migrated_copy(own_postgres)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=3, timeout_seconds=PATIENCE)
    yield database
    await database.close()


def end_all(own_postgres: Postgres, database: Database) -> None:
    own_postgres.sql(ENDS_ALL, str(database.url.database))


async def run(database: Database, *statements: str) -> None:
    """All of them in one transaction."""
    async with database.write() as connection:
        for statement in statements:
            await connection.execute(text(statement))


async def assert_away(work: Callable[[], object], database: Database, statement: str) -> None:
    """A statement is refused as by a database that is away, and the next ones are none the worse."""
    running = asyncio.create_task(run(database, statement))
    await asyncio.sleep(0.1)  # it has been sent by then; else it is refused all the same
    await asyncio.to_thread(work)
    with pytest.raises(RunnelError) as refused:
        await running
    assert refused.value.code is Code.STORE_UNAVAILABLE
    assert refused.value.retry_after == 1


async def assert_well(database: Database) -> None:
    for _ in range(6):
        await database.check()


@pytest.mark.parametrize("at_once", [False, True], ids=["shut down", "crashed"])
async def test_postgres_that_is_started_anew_costs_nothing_afterwards(
    own_postgres: Postgres, database: Database, *, at_once: bool
) -> None:
    await asyncio.gather(*(database.check() for _ in range(3)))  # all of the pool
    await asyncio.to_thread(own_postgres.stop, at_once=at_once)
    try:
        for _ in range(4):
            with pytest.raises(RunnelError) as refused:
                await database.check()
            assert refused.value.code is Code.STORE_UNAVAILABLE
    finally:
        await asyncio.to_thread(own_postgres.start)
    await assert_well(database)


async def test_a_connection_that_is_ended_at_work_is_one_that_is_away(
    own_postgres: Postgres, database: Database
) -> None:
    await assert_away(lambda: end_all(own_postgres, database), database, "SELECT pg_sleep(20)")
    await assert_well(database)


async def test_connections_that_were_ended_while_nobody_used_them_cost_nothing(
    own_postgres: Postgres, database: Database
) -> None:
    await asyncio.gather(*(database.check() for _ in range(3)))
    await asyncio.to_thread(end_all, own_postgres, database)
    await assert_well(database)


async def test_a_statement_that_takes_too_long_is_given_up(database: Database) -> None:
    for _ in range(4):  # more than there are places
        with pytest.raises(RunnelError) as refused:
            await run(database, "SELECT pg_sleep(20)")
        assert refused.value.code is Code.STORE_UNAVAILABLE
    await assert_well(database)


@pytest.mark.parametrize(
    "setting",
    [
        "SET LOCAL statement_timeout = 20",
        "SET LOCAL lock_timeout = 20",
    ],
)
async def test_a_timeout_of_the_servers_is_the_same(
    url: str, database: Database, setting: str
) -> None:
    other = Database(url, pool_size=1, timeout_seconds=5)
    async with other.write() as holding:
        await holding.execute(text("LOCK TABLE users IN EXCLUSIVE MODE"))
        with pytest.raises(RunnelError) as refused:
            await run(database, setting, "DELETE FROM users")
        assert refused.value.code is Code.STORE_UNAVAILABLE
    await other.close()
    await assert_well(database)


async def test_a_postgres_that_has_no_place_is_one_that_is_away(
    own_postgres: Postgres, url: str
) -> None:
    name = url.rpartition("/")[2]
    # A superuser is let in nevertheless; so there is somebody else.
    own_postgres.sql(
        f"CREATE ROLE plain LOGIN PASSWORD 'plain-canary'; ALTER DATABASE {name} CONNECTION LIMIT 1"
    )
    plain = url.replace("runnel:canary-of-postgres@", "plain:plain-canary@")
    first, second = (Database(plain, pool_size=1, timeout_seconds=PATIENCE) for _ in range(2))
    async with first.read() as connection:
        await connection.execute(text("SELECT 1"))
        with pytest.raises(RunnelError) as refused:
            await second.check()
        assert refused.value.code is Code.STORE_UNAVAILABLE
        assert "canary" not in str(refused.value.__cause__)
    await first.close()
    await second.close()
    own_postgres.sql(f"ALTER DATABASE {name} CONNECTION LIMIT -1")


async def test_what_is_wrong_in_itself_is_no_database_that_is_away(database: Database) -> None:
    for statement in ("SELECT nothing FROM users", "SELEC", "SELECT 1/0"):
        with pytest.raises(DBAPIError):
            await run(database, statement)
    with pytest.raises(DBAPIError):
        async with database.read() as connection:
            await connection.execute(text("SELECT CAST(:n AS INTEGER)"), {"n": 2**40})
    with pytest.raises(DBAPIError, match="read-only"):
        async with database.read() as connection:
            await connection.execute(text("DELETE FROM users"))
    with pytest.raises(IntegrityError):
        await run(database, "INSERT INTO logins VALUES ('a', 'nobody', now(), now(), NULL)")
    await assert_well(database)


async def test_what_is_read_of_an_answer_is_of_one_moment(own_postgres: Postgres) -> None:
    async with Chat(migrated_copy(own_postgres)) as chat:
        begun = await chat.begin(chat.question())
        generation = begun.generation
        await chat.store.begin_epoch(generation.id, 1, Fitted(0))
        async with chat.database.read() as connection:
            before = await shown.get(connection, generation.id)
            position = Position(1, 1)
            await chat.store.checkpoint([Checkpoint(generation.id, 1, position, "later")])
            text_then, _ = await shown.checkpointed(connection, generation.id, 1)
        assert before is not None
        assert (before.text, text_then) == ("", "")
        assert (await chat.stored(generation)).text == "later"


async def test_an_end_and_a_purge_at_the_same_time_wait_for_each_other_and_do_not_deadlock(
    own_postgres: Postgres,
) -> None:
    async with Chat(migrated_copy(own_postgres)) as chat:
        generation = (await chat.begin(chat.question())).generation
        async with chat.database.write() as purging:
            await purging.execute(text("UPDATE sessions SET hidden = true"))
            ending = asyncio.create_task(
                chat.store.finish(
                    generation.id,
                    1,
                    Ending(Status.ABORTED, "", Position(1, 1), Usage(1, 1, "estimated")),
                )
            )
            await _somebody_waits(chat.database)
            await purging.execute(text("UPDATE generations SET abort_requested_at = now()"))
        ended = await ending
    assert ended is not None
    assert ended.status is Status.ABORTED


async def _somebody_waits(database: Database) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    for _ in range(POLLS):
        async with database.read() as connection:
            if await connection.scalar(text(waiting)):
                return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError
