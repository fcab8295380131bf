"""Plants one long session, for bench/exporting.py: DATA_DIR USERNAME MESSAGES."""  # noqa: INP001 - a program

import asyncio
import random
import sys
from pathlib import Path
from typing import Any, Final

from sqlalchemy import insert

from runnel.accounts.entities import User
from runnel.bootstrap.database import migrate_database
from runnel.settings import Settings
from runnel.store.accounts import SqlAccountStore
from runnel.store.engine import Database
from runnel.store.ids import new_id, now
from runnel.store.tables import GenerationRow, MessageRow, SessionRow

_WORDS: Final = (
    "uma",
    "pergunta",
    "sobre",
    "o",
    "tempo",
    "and",
    "an",
    "answer",
    "of",
    "some",
    "words",
)
_FORK_EVERY: Final = 50
_ROWS: Final = 1000


async def plant(settings: Settings, username: str, messages: int) -> None:
    """One session with so many messages, half of them answers, a fork now and then."""
    await migrate_database(settings)
    database = Database(settings.database_url, pool_size=2, timeout_seconds=60)
    user = await SqlAccountStore(database).add_user(username, "", "user", now())
    assert user is not None
    if messages:
        await _plant(database, user, messages)
    await database.close()


async def _plant(database: Database, user: User, count: int) -> None:
    session_id, time_, chance = new_id(), now(), random.Random(1)  # noqa: S311 - no secret
    rows: list[dict[str, Any]] = []
    for number in range(count):
        forks = number > _FORK_EVERY and number % _FORK_EVERY == 0
        # Behind a fork the talk goes on below it; the two messages it stands beside are left.
        parent = rows[-3] if forks else rows[-1] if rows else None
        message_id = new_id()
        rows.append(
            {
                "id": message_id,
                "session_id": session_id,
                "parent_id": parent and parent["id"],
                "role": "assistant" if number % 2 else "user",
                "content": " ".join(chance.choices(_WORDS, k=100 if number % 2 else 20)),
                "created_at": time_,
                "stem_id": message_id if forks or parent is None else parent["stem_id"],
                "depth": parent["depth"] + 1 if parent else 0,
            }
        )
    made = [_generation(user.id, row) for row in rows if row["role"] == "assistant"]
    session = {"id": session_id, "user_id": user.id, "leaf_id": rows[-1]["id"]}
    session |= {"started_at": time_, "last_activity": time_}
    for table, values in ((SessionRow, [session]), (MessageRow, rows), (GenerationRow, made)):
        for begin in range(0, len(values), _ROWS):
            async with database.write() as connection:
                await connection.execute(insert(table), values[begin : begin + _ROWS])


def _generation(user_id: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": new_id(),
        "user_id": user_id,
        "session_id": row["session_id"],
        "message_id": row["id"],
        "user_message_id": row["parent_id"],
        "model": "chat/test",
        "provider": "openai",
        "provider_model": "test",
        "params": {"temperature": 0.5},
        "status": "completed",
        "owner": row["session_id"],
        "fence": 1,
        "epoch": 1,
        "last_offset": 30,
        "finish_reason": "stop",
        "prompt_tokens": 100,
        "completion_tokens": 100,
        "usage_source": "provider",
        "created_at": row["created_at"],
        "first_token_ms": 90,
        "latency_ms": 900,
    }


if __name__ == "__main__":
    asyncio.run(plant(Settings(data_dir=Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])))
