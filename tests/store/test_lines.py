"""Whoever waits for the database is served in turn, however long the line, as long as it moves."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from runnel.errors import Code, RunnelError
from runnel.store.engine import Database
from runnel.store.line import Line

PATIENCE: Final = 0.25
Kind = Callable[[Database], AbstractAsyncContextManager[Any]]
KINDS: Final = [Database.read, Database.write]


@asynccontextmanager
async def briefly(line: Line) -> AsyncGenerator[None]:
    await line.pass_by()
    yield
    line.leave(None)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'line.db'}"
    database = Database(url, pool_size=2, timeout_seconds=PATIENCE)
    yield database
    await database.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_line_that_moves_on_is_served_to_its_end(
    database: Database, kind: Kind
) -> None:
    served: list[int] = []

    async def take(number: int) -> None:
        async with kind(database):
            await asyncio.sleep(PATIENCE / 5)
            served.append(number)

    # Three times as long as anybody has patience for.
    await asyncio.gather(*(take(number) for number in range(15)))
    assert served == list(range(15))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_line_in_which_nobody_gets_through_is_given_up(
    database: Database, kind: Kind
) -> None:
    async with kind(database):
        with pytest.raises(RunnelError) as refused:
            async with kind(database):
                raise AssertionError
    assert refused.value.code is Code.STORE_UNAVAILABLE
    async with kind(database):
        pass  # and nothing of it is left


async def test_who_gives_up_by_itself_takes_no_place(database: Database) -> None:
    async def take() -> None:
        async with database.read():
            pass

    async with database.read():
        waiting = asyncio.create_task(take())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await asyncio.wait_for(take(), PATIENCE)


async def test_who_is_called_and_gives_up_calls_the_next() -> None:
    line = Line(1, PATIENCE)
    served: list[str] = []

    async def take(name: str) -> None:
        async with line:
            served.append(name)

    async with line:
        first, second = (asyncio.create_task(take(name)) for name in ("first", "second"))
        await asyncio.sleep(0)
    first.cancel()  # the place is free, and it has not come yet
    await second
    assert served == ["second"]


async def test_who_needs_it_briefly_passes_by_those_who_are_on_their_way() -> None:
    line = Line(1, PATIENCE)
    served: list[str] = []

    async def take(name: str) -> None:
        async with briefly(line):
            served.append(name)

    async def hold(name: str) -> None:
        async with line:
            served.append(name)
            await asyncio.sleep(0)

    async with line:
        tasks = [asyncio.create_task(hold("a")), asyncio.create_task(take("b"))]
        await asyncio.sleep(0)
        assert served == []  # what is taken they wait for, too
    await take("at once")
    assert served == ["at once"]
    await asyncio.gather(*tasks, hold("behind"))
    assert served == ["at once", "a", "b", "behind"]


async def test_a_brief_one_that_takes_long_after_all_loses_nobody_his_place() -> None:
    line = Line(1, PATIENCE)
    served: list[int] = []

    async def take(number: int) -> None:
        async with line:
            served.append(number)

    async with line:
        tasks = [asyncio.create_task(take(number)) for number in range(3)]
        await asyncio.sleep(0)
    async with briefly(line):
        for _ in range(3):
            await asyncio.sleep(0)
        assert served == []
    await asyncio.gather(*tasks)
    assert served == [0, 1, 2]


async def test_reading_needs_no_turn_to_write(database: Database) -> None:
    async with database.write(), database.read():
        pass
