"""One server a database: the second is refused, and a lock that was lost is taken again."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import MakeDatabase
from postgres import Postgres
from runnel.errors import Code, RunnelError, StartupError
from runnel.store import postgres_lock
from runnel.store.engine import Database
from runnel.store.lock import ServerLock, server_lock
from runnel.store.postgres_lock import PostgresServerLock
from waiting import soon

PATIENCE = 0.3


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_lock, "_PATIENCE_SECONDS", PATIENCE)
    monkeypatch.setattr(postgres_lock, "_CHECK_SECONDS", 0.02)


@pytest.fixture
def own(own_postgres: Postgres) -> Iterator[str]:
    url = own_postgres.create()
    yield url
    own_postgres.drop(url)


def lock_of(url: str) -> ServerLock:
    # The engine makes no connection of its own until it is used.
    return server_lock(Database(url, pool_size=1, timeout_seconds=5), many=False)


async def test_a_second_server_is_told_why_it_cannot_start(database_url: str) -> None:
    first, second = lock_of(database_url), lock_of(database_url)
    await first.acquire()
    with pytest.raises(StartupError, match="another server is running on ") as said:
        await second.acquire()
    assert "canary" not in str(said.value)
    await first.check()
    await first.release()
    await second.acquire()
    await second.release()


async def test_servers_on_two_databases_do_not_meet(databases: MakeDatabase) -> None:
    locks_of_both = [lock_of(url) for url in (databases(), databases(empty=True))]
    for lock in locks_of_both:
        await lock.acquire()
    for lock in locks_of_both:
        await lock.release()


async def test_who_comes_while_the_last_one_goes_waits_for_it(database_url: str) -> None:
    first, second = lock_of(database_url), lock_of(database_url)
    if not isinstance(first, PostgresServerLock):
        return  # a file's lock goes with its process, at once
    await first.acquire()
    asyncio.get_running_loop().call_later(PATIENCE / 3, first._connection.terminate)
    await second.acquire()
    await second.release()


async def test_a_lock_lost_with_postgres_is_taken_again(
    own_postgres: Postgres, own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = lock_of(own)
    await lock.acquire()
    watching = asyncio.create_task(lock.watch())
    await asyncio.to_thread(own_postgres.stop)
    await asyncio.to_thread(own_postgres.start)
    await soon(lambda: "database.lock_taken_again" in capsys.readouterr().out)
    with pytest.raises(StartupError):
        await lock_of(own).acquire()
    watching.cancel()
    await lock.release()


async def test_a_lock_that_another_has_by_then_is_told_until_it_is_free(
    own_postgres: Postgres, own: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lock, other = lock_of(own), lock_of(own)
    await lock.acquire()
    await asyncio.to_thread(own_postgres.stop)
    await asyncio.to_thread(own_postgres.start)
    await other.acquire()
    watching = asyncio.create_task(lock.watch())
    refused = await _refused(lock)
    assert refused.code is Code.STORE_UNAVAILABLE
    await other.release()
    for _ in range(200):
        await asyncio.sleep(0.02)
        try:
            await lock.check()
        except RunnelError:
            continue
        break
    await lock.check()
    watching.cancel()
    await lock.release()
    said = capsys.readouterr().out
    assert said.count("database.taken") == 1
    assert "database.lock_taken_again" in said


async def _refused(lock: ServerLock) -> RunnelError:
    for _ in range(200):
        try:
            await lock.check()
        except RunnelError as error:
            return error
        await asyncio.sleep(0.02)
    raise AssertionError


def test_a_lock_of_sqlite_is_beside_its_file(tmp_path: Path) -> None:
    async def hold() -> None:
        lock = lock_of(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}")
        await lock.acquire()
        assert (tmp_path / "x.db.lock").exists()
        await lock.watch()  # which has nothing to do
        await lock.release()

    asyncio.run(hold())
