"""Postgres' connections: what each transaction asks of them, and which are used again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from sqlalchemy import bindparam, insert, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from postgres import Postgres, migrated_copy
from runnel.errors import Code, RunnelError
from runnel.store import postgres_pool
from runnel.store.engine import Database
from runnel.store.postgres_pool import PostgresConnection, PostgresPool
from runnel.store.statements import Statement
from runnel.store.tables import CheckpointRow, UserRow
from waiting import POLL_SECONDS, POLLS

PLACES: Final = 2
PATIENCE: Final = 1.0
_NAMED: Final = Statement(select(UserRow.id, UserRow.name).where(UserRow.name == bindparam("who")))
_ORPHAN: Final = Statement(insert(CheckpointRow))
ORPHAN: Final = {"generation_id": "none", "epoch": 1, "last_offset": 1, "text": ""}


@pytest.fixture(scope="module")
def url(own_postgres: Postgres) -> str:
    return migrated_copy(own_postgres)


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    database = Database(url, pool_size=PLACES, timeout_seconds=PATIENCE)
    yield database
    await database.close()


def kept(database: Database) -> list[Any]:
    """The driver's connections that nobody uses."""
    assert database._pool is not None
    return [connection.direct for connection in database._pool._kept]


def backends(database: Database) -> set[int]:
    return {direct.get_server_pid() for direct in kept(database)}


@contextmanager
def asked(database: Database) -> Generator[list[str]]:
    """What the one that is kept is asked meanwhile."""
    (direct,) = kept(database)
    said: list[str] = []

    def told(query: Any) -> None:
        said.append(query.query.strip())

    direct.add_query_logger(told)
    try:
        yield said
    finally:
        direct.remove_query_logger(told)


async def backend_of(connection: AsyncConnection) -> int:
    pid = await connection.scalar(text("SELECT pg_backend_pid()"))
    assert isinstance(pid, int)
    return pid


async def test_a_transaction_asks_postgres_nothing_but_what_it_is_for(database: Database) -> None:
    async with database.look() as connection:
        await _NAMED.first(connection, {"who": "ana"})
    with asked(database) as said:
        async with database.look() as connection:
            assert await _NAMED.rows(connection, {"who": "ana"}) == []
        await asyncio.sleep(0)  # the driver tells soon
        (only,) = said
        assert only.startswith("SELECT users.id")
        said.clear()
        async with database.read_briefly() as connection:
            await _NAMED.first(connection, {"who": "ana"})
        await asyncio.sleep(0)
        assert [each.split()[0] for each in said] == ["BEGIN", "SELECT", "COMMIT;"]
        assert "REPEATABLE READ READ ONLY" in said[0]


async def test_what_is_asked_by_sqlalchemy_is_of_the_same_transaction(database: Database) -> None:
    async def give_up() -> None:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE gone (a INT)"))
            async with connection.begin_nested():
                await connection.execute(text("INSERT INTO gone VALUES (1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await give_up()
    async with database.read() as connection:
        assert await connection.scalar(text("SELECT to_regclass('gone')")) is None
    assert len(backends(database)) == 1


async def test_a_read_writes_nothing(database: Database) -> None:
    with pytest.raises(DBAPIError, match="read-only"):
        async with database.read() as connection:
            await connection.execute(text("CREATE TABLE gone (a INT)"))


async def test_what_a_constraint_refuses_leaves_the_connection_as_it_was(
    database: Database,
) -> None:
    await database.check()
    before = backends(database)
    with pytest.raises(IntegrityError) as refused:
        async with database.write_briefly() as connection:
            await _ORPHAN.run(connection, ORPHAN)
    assert "fk_checkpoints_generation_id" in str(refused.value.orig)
    # After a savepoint the same transaction goes on.
    async with database.write_briefly() as connection:
        with pytest.raises(IntegrityError):
            async with connection.begin_nested():
                await _ORPHAN.run(connection, ORPHAN)
        assert await _NAMED.rows(connection, {"who": "ana"}) == []
    assert backends(database) == before


async def test_many_rows_are_written_or_none(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.write() as connection:
            await _ORPHAN.run(connection, ORPHAN, ORPHAN | {"epoch": 2})


async def test_a_text_may_have_a_nul_in_it(database: Database) -> None:
    async with database.look() as connection:
        assert await _NAMED.first(connection, {"who": "an\0a"}) is None


async def test_a_statement_that_was_cancelled_is_not_waited_for(
    own_postgres: Postgres, database: Database
) -> None:
    held: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def sleep() -> None:
        async with database.write() as connection:
            held.set_result(await backend_of(connection))
            await connection.execute(text("SELECT pg_sleep(20)"))

    sleeping = asyncio.create_task(sleep())
    pid = await held
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    # It is given to nobody, and its place is free once it is closed.
    async with database.write() as first, database.write() as second:
        assert pid not in {await backend_of(first), await backend_of(second)}
    for _ in range(POLLS):
        if str(pid) not in own_postgres.sql("SELECT pid FROM pg_stat_activity").split():
            return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError("Postgres still runs it")


async def test_who_finds_no_place_stands_in_line(database: Database) -> None:
    async def look() -> None:
        async with database.read() as connection:
            await connection.execute(text("SELECT pg_sleep(0.01)"))

    await asyncio.gather(*(look() for _ in range(20)))
    assert len(backends(database)) == PLACES
    async with database.read(), database.read():
        with pytest.raises(RunnelError) as refused:
            await database.check()
    assert refused.value.code is Code.STORE_UNAVAILABLE


async def test_one_that_said_nothing_for_long_is_looked_at_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.check()
    monkeypatch.setattr(postgres_pool, "_FRESH_SECONDS", 0)
    with asked(database) as said:
        async with database.look() as connection:
            await _NAMED.first(connection, {"who": "ana"})
        await asyncio.sleep(0)
    assert said[0] == "SELECT 1"
    # One that turns out to be gone is not used.
    (direct,) = kept(database)
    direct.terminate()
    async with database.look() as connection:
        await _NAMED.first(connection, {"who": "ana"})
    assert direct not in kept(database)


async def test_what_is_given_back_behind_the_end_is_closed(database: Database) -> None:
    async with database.read():
        await database.close()
    assert database._pool is not None
    assert not database._pool._kept


@pytest.mark.parametrize("reading", [False, True], ids=["write", "read"])
async def test_a_connection_that_is_gone_before_the_end_is_one_that_is_away(
    database: Database, *, reading: bool
) -> None:
    async def lose() -> None:
        async with database.read() if reading else database.write() as connection:
            await connection.execute(text("SELECT 1"))
            raw: Any = await connection.get_raw_connection()
            raw.driver_connection.terminate()

    for _ in range(PLACES + 1):  # and its place is free again
        with pytest.raises(RunnelError) as refused:
            await lose()
        assert refused.value.code is Code.STORE_UNAVAILABLE
    await database.check()


@pytest.fixture
def most_there(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many connections there were at most at a time."""
    opened, drop = PostgresPool._opened, PostgresConnection.drop
    there = most = 0

    async def counted(pool: PostgresPool) -> PostgresConnection:
        nonlocal there, most
        there += 1
        most = max(most, there)
        return await opened(pool)

    async def uncounted(connection: PostgresConnection) -> None:
        nonlocal there
        await drop(connection)
        there -= 1

    monkeypatch.setattr(PostgresPool, "_opened", counted)
    monkeypatch.setattr(PostgresConnection, "drop", uncounted)
    return lambda: most


async def cancel_together(
    work: Callable[[], Coroutine[Any, Any, None]], begun: asyncio.Queue[None]
) -> None:
    """As many as there are places, once each has said that it has begun."""
    working = [asyncio.create_task(work()) for _ in range(PLACES)]
    for _ in working:
        await begun.get()
    for task in working:
        task.cancel()


async def test_there_are_never_more_connections_than_places(
    database: Database, most_there: Callable[[], int]
) -> None:
    begun: asyncio.Queue[None] = asyncio.Queue()

    async def sleep() -> None:
        async with database.write() as connection:
            assert isinstance(connection, PostgresConnection)
            begun.put_nowait(None)
            await connection.fetch("SELECT pg_sleep(20)", [])

    for _ in range(5):
        await cancel_together(sleep, begun)
        await asyncio.gather(*(database.check() for _ in range(PLACES)))
    assert most_there() == PLACES


async def test_nor_when_who_begins_is_cancelled(
    database: Database, most_there: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: asyncio.Queue[None] = asyncio.Queue()

    async def begin_as(connection: PostgresConnection, _how: object) -> None:
        begun.put_nowait(None)
        await connection.fetch("SELECT pg_sleep(20)", [])

    async def begin() -> None:
        async with database.write():
            raise AssertionError("it never begins")

    for _ in range(5):  # the first time on new connections, then on those that the check has left
        with monkeypatch.context() as patched:
            patched.setattr(PostgresConnection, "begin_as", begin_as)
            await cancel_together(begin, begun)
        await asyncio.gather(*(database.check() for _ in range(PLACES)))
    assert most_there() == PLACES


async def test_a_column_that_changes_fails_once_for_all_connections(database: Database) -> None:
    async def named() -> object:
        async with database.read() as connection:
            return await _NAMED.rows(connection, {"who": "ana"})

    async with database.read(), database.read():
        pass
    await asyncio.gather(named(), named())
    async with database.write() as connection:
        await connection.execute(text("ALTER TABLE users ALTER COLUMN name TYPE text"))
    with pytest.raises(DBAPIError, match="cached statement plan"):
        await named()
    assert [await asyncio.gather(named(), named()) for _ in range(2)] == [[[], []]] * 2
