"""What is counted over everybody's answers, by hour and day and by model, on both databases."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from sqlalchemy import insert

from runnel.store.accounts import SqlAccountStore
from runnel.store.engine import Database
from runnel.store.ids import new_id
from runnel.store.overviews import SqlOverviews
from runnel.store.tables import GenerationRow, KeptUsageRow, MessageRow, SessionRow

BEGIN: Final = datetime(2026, 3, 1, 22, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
END: Final = datetime(2026, 3, 2, 23, 59, 59, 999999, tzinfo=UTC)


class Told:
    """Generations with whatever columns a test wants, each in a session of its own."""

    def __init__(self, database: Database, user_id: str) -> None:
        self.database = database
        self.user_id = user_id
        self.overviews = SqlOverviews(database)

    async def of(self, at: datetime, **columns: Any) -> None:
        session, question, answer = (new_id() for _ in range(3))
        usual = {
            "model": "chat/a",
            "status": "completed",
            "prompt_tokens": 10,
            "completion_tokens": 5,
        }
        row: dict[str, Any] = {
            "id": _id_at(at),
            "user_id": self.user_id,
            "session_id": session,
            "message_id": answer,
            "user_message_id": question,
            "provider": "openai",
            "provider_model": "a",
            "params": {},
            "owner": self.user_id,
            "fence": 1,
            "epoch": 1,
            "usage_source": "provider",
            "created_at": at,
            **usual,
            **columns,
        }
        said = {"session_id": session, "content": "", "created_at": at}
        async with self.database.write() as connection:
            await connection.execute(
                insert(SessionRow).values(
                    id=session, user_id=self.user_id, started_at=at, last_activity=at
                )
            )
            for depth, (id_, role) in enumerate(((question, "user"), (answer, "assistant"))):
                await connection.execute(
                    insert(MessageRow).values(id=id_, role=role, stem_id=id_, depth=depth, **said)
                )
            await connection.execute(insert(GenerationRow).values(**row))


def _id_at(at: datetime) -> str:
    made = f"{int(at.timestamp() * 1000):012x}"
    return f"{made[:8]}-{made[8:]}{new_id()[13:]}"


@pytest.fixture
async def told(database_url: str) -> AsyncIterator[Told]:
    database = Database(database_url, pool_size=2, timeout_seconds=5)
    user = await SqlAccountStore(database).add_user("ada", "", "user", BEGIN)
    assert user
    yield Told(database, user.id)
    await database.close()


async def test_hours_count_what_was_asked_in_them(told: Told) -> None:
    await told.of(BEGIN, latency_ms=100, first_token_ms=10, cost=0.5)
    await told.of(BEGIN + HOUR / 2, latency_ms=300, cost=0.25)
    await told.of(BEGIN + HOUR, status="failed", error_code="upstream_error")
    await told.of(BEGIN + HOUR, status="failed", error_code="upstream_error")
    await told.of(BEGIN + HOUR, status="interrupted", error_code="interrupted")
    await told.of(BEGIN + HOUR, status="running", completion_tokens=None)
    await told.of(BEGIN + 2 * HOUR, status="aborted", model="chat/b")
    await told.of(BEGIN - timedelta(milliseconds=1))
    first, second, third = await told.overviews.spells(BEGIN, END, "hour", None)
    assert (first.begins, first.generations, first.failed) == (BEGIN, 2, 0)
    assert (first.prompt_tokens, first.completion_tokens, first.cost) == (20, 10, 0.75)
    assert (first.latency_ms, first.first_token_ms) == (200, 10)
    assert (second.begins, second.generations, second.failed) == (BEGIN + HOUR, 3, 3)
    assert second.errors == {"interrupted": 1, "upstream_error": 2}
    assert (second.cost, second.latency_ms, second.first_token_ms) == (None, None, None)
    assert (third.begins, third.generations, third.errors) == (BEGIN + 2 * HOUR, 1, {})
    [of_model] = await told.overviews.spells(BEGIN, END, "hour", "chat/b")
    assert of_model == third
    assert await told.overviews.spells(END, END + HOUR, "hour", None) == []


async def test_days_are_those_of_utc_and_count_what_was_purged(told: Told) -> None:
    await told.of(BEGIN, cost=0.5)
    await told.of(BEGIN + 2 * HOUR)
    kept = {"user_id": told.user_id, "provider": "openai", "generations": 3}
    kept |= {"prompt_tokens": 7, "completion_tokens": 8, "model": "chat/a"}
    async with told.database.write() as connection:
        for day, cost in ((date(2026, 3, 1), 0.25), (date(2026, 2, 27), None)):
            await connection.execute(insert(KeptUsageRow).values(day=day, cost=cost, **kept))
    midnight = BEGIN.replace(hour=0)
    first, second = await told.overviews.spells(midnight, END, "day", None)
    assert (first.begins, first.generations) == (midnight, 4)
    assert (first.prompt_tokens, first.completion_tokens, first.cost) == (17, 13, 0.75)
    assert (second.begins, second.generations) == (midnight + timedelta(days=1), 1)
    gone, *_ = await told.overviews.spells(midnight - timedelta(days=2), END, "day", None)
    assert (gone.begins.date(), gone.generations, gone.cost) == (date(2026, 2, 27), 3, None)
    assert len(await told.overviews.spells(midnight, END, "day", "chat/b")) == 0


async def test_models_tell_how_they_ended_and_how_soon_they_began(told: Told) -> None:
    for milliseconds in range(1, 101):
        await told.of(BEGIN, first_token_ms=milliseconds)
    await told.of(BEGIN, model="chat/b", status="failed", error_code="upstream_timeout")
    await told.of(BEGIN, model="chat/c", first_token_ms=7)
    await told.of(BEGIN - HOUR, model="chat/d")
    found = {each.model: each for each in await told.overviews.models(BEGIN)}
    assert found.keys() == {"chat/a", "chat/b", "chat/c"}
    a, b, c = (found[f"chat/{name}"] for name in "abc")
    assert (a.generations, a.failed, a.errors) == (100, 0, {})
    assert (a.first_token_ms_p50, a.first_token_ms_p95) == (50, 95)
    assert (b.generations, b.failed, b.errors) == (1, 1, {"upstream_timeout": 1})
    assert (b.first_token_ms_p50, b.first_token_ms_p95) == (None, None)
    assert (c.first_token_ms_p50, c.first_token_ms_p95) == (7, 7)
