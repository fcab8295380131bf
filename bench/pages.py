"""What one session of 100,000 messages costs: PYTHONPATH=tests python bench/pages.py [sqlite|postgres]."""  # noqa: INP001 - a program

import asyncio
import resource
import sys
import tempfile
from pathlib import Path
from typing import Final

from long_session import plant
from sqlalchemy import select

from answers import Chat
from runnel.chat.entities import Ask, SessionRef
from runnel.chat.sessions.ports import MessagePage, Wanted
from runnel.chat.sessions.purging import Marked
from runnel.settings import Settings
from runnel.store.ids import now
from runnel.store.purging import SqlPurging
from runnel.store.session_store import SqlSessions
from runnel.store.tables import MessageRow, SessionRow, UserRow
from sessions import database, figures, tell, timed

MESSAGES: Final = 100_000
PAGE: Final = 100
ROUNDS: Final = 100


async def measure(backend: str, folder: Path) -> None:
    with database(backend, folder) as (url, upkeep):
        await plant(Settings(data_dir=folder, database_url=url), "writer", MESSAGES)
        upkeep()
        async with Chat(url) as chat:
            sessions = SqlSessions(chat.database, chat.indexing, idle_seconds=3600, clock=now)
            await pages(backend, chat, sessions)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tell(f"{backend}: the process had {most:.0f} MiB at most")


async def pages(backend: str, chat: Chat, sessions: SqlSessions) -> None:
    async with chat.database.read() as connection:
        user_id = await connection.scalar(select(UserRow.id).where(UserRow.name == "writer"))
        rows = await connection.execute(select(SessionRow.id, SessionRow.leaf_id))
        session_id, leaf_id = rows.one()
        root_id = await connection.scalar(select(MessageRow.id).where(MessageRow.depth == 0))
        deepest = await connection.scalar(select(MessageRow.depth).where(MessageRow.id == leaf_id))
    assert user_id is not None
    assert root_id is not None
    assert deepest is not None
    ref = SessionRef(id=session_id)
    places = {"first": -1, "middle": deepest // 2, "last": deepest - PAGE}
    for name, depth in places.items():
        page = MessagePage(PAGE, f"{leaf_id}.{depth}" if depth >= 0 else None)
        row = [
            await timed(lambda p=page: sessions.messages(user_id, ref, p)) for _ in range(ROUNDS)
        ]
        tell(f"{backend}, the {name} page of the active branch: {figures(row)}")
    for name, depth in places.items():
        page = MessagePage(PAGE, f"{root_id}.{max(depth, 0)}", tree=True)
        row = [
            await timed(lambda p=page: sessions.messages(user_id, ref, p)) for _ in range(ROUNDS)
        ]
        tell(f"{backend}, the {name} page of the tree: {figures(row)}")
    row = [await timed(lambda: sessions.page(user_id, Wanted(), None, 20)) for _ in range(ROUNDS)]
    tell(f"{backend}, a list of sessions with it: {figures(row)}")
    row = [
        await timed(lambda: sessions.choose_branch(user_id, ref, root_id))
        for _ in range(ROUNDS // 10)
    ]
    tell(f"{backend}, the newest leaf of all: {figures(row)}")
    ask = Ask(user_id, "And now?", ref)
    took = await timed(lambda: chat.store.begin_ask(ask, chat.choose, "bench"))
    tell(f"{backend}, a question behind it all is written down in {took:.1f} ms")
    purging = SqlPurging(chat.database)
    await purging.mark(user_id, session_id, now())
    marked = (await purging.mark_some(user_id, now(), 1))[0]
    batches: list[float] = []
    left = [1]
    while left[-1]:
        batches.append(await timed(lambda: _delete(purging, marked, left)))
    tell(
        f"{backend}, a purge: {sum(batches) / 1000:.1f} s in {len(batches)} transactions,"
        f" each {figures(batches)}"
    )


async def _delete(purging: SqlPurging, marked: Marked, left: list[int]) -> None:
    left.append((await purging.delete_messages(marked, 500)).messages)


if __name__ == "__main__":
    for each in sys.argv[1:] or ("sqlite", "postgres"):
        with tempfile.TemporaryDirectory() as here:
            asyncio.run(measure(each, Path(here)))
