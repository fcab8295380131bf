"""What sessions cost among 100,000 messages: PYTHONPATH=tests python bench/sessions.py [sqlite|postgres]."""  # noqa: INP001 - a program

import asyncio
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from corpus import ANSWER, QUESTION, Speech, fill, people, talk

import postgres
from answers import Chat
from databases import sqlite_url
from runnel.chat.entities import Turn
from runnel.chat.sessions.passages import passages
from runnel.chat.sessions.ports import Wanted
from runnel.chat.sessions.searching import parse_query
from runnel.store.engine import Database
from runnel.store.ids import now
from runnel.store.migrate import migrate
from runnel.store.session_store import SqlSessions

#: Of one user with much to search, and of others beside.
SESSIONS: Final = 3000
OTHERS: Final = 100
SESSIONS_OF_ANOTHER: Final = 20
PAGE: Final = 20
ROUNDS: Final = 5


@contextmanager
def database(backend: str, folder: Path) -> Generator[tuple[str, Callable[[], object]]]:
    """Its address, and what its own upkeep does sooner or later."""
    if backend == "sqlite":
        yield sqlite_url(folder / "bench.db"), lambda: None
        return
    instance = postgres.started()
    try:
        url = instance.create()
        yield url, lambda: instance.sql("VACUUM ANALYZE", url.rpartition("/")[2])
    finally:
        instance.remove()


def queries(speech: Speech) -> dict[str, list[str]]:
    """Some of each kind."""
    words = speech.words

    def of(*ranks: int) -> list[str]:
        return [words[rank] for rank in ranks]

    return {
        "a common word": of(0, 1, 5, 20),
        "a word in a hundred messages": of(300, 400, 500, 600),
        "a rare word": of(20_000, 30_000, 40_000, 45_000),
        "no word at all": ["zzzz", "qqqq"],
        "two letters": [word[:2] for word in of(3000, 5000, 9000)],
        "three letters": [word[:3] for word in of(3000, 5000, 9000)],
        "two common words": [f"{words[rank]} {words[rank + 1]}" for rank in (0, 3, 9)],
        "a common and a rare word": [f"{words[0]} {words[rank]}" for rank in (20_000, 30_000)],
        "a phrase of common words": [f'"{words[rank]} {words[rank + 1]}"' for rank in (0, 3, 9)],
        "a phrase of rare words": [f'"{words[2000]} {words[rank]}"' for rank in (3000, 4000)],
    }


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """In milliseconds."""
    began = time.perf_counter()
    await work()
    return (time.perf_counter() - began) * 1000


async def searches(sessions: SqlSessions, user_id: str, who: str, speech: Speech) -> None:
    for kind, some in queries(speech).items():
        row: list[float] = []
        used = time.process_time()
        for query in some * ROUNDS:
            wanted = Wanted(query=parse_query(query))
            row.append(await timed(lambda w=wanted: sessions.page(user_id, w, None, PAGE)))
        used = (time.process_time() - used) * 1000 / len(row)
        tell(f"{who}, {kind}: {figures(row)}; {used:.0f} ms of this process's CPU")


async def writing(chat: Chat, user_id: str, speech: Speech) -> None:
    """What a question and its answer cost, and how much of that it is to cut them into words."""
    talks = [[Turn("user", speech.text(QUESTION))] for _ in range(200)]
    answers = [speech.text(ANSWER) for _ in talks]
    row = [
        await timed(lambda t=turns, a=answer, n=number: talk(chat, user_id, f"new{n}", t, a))
        for number, (turns, answer) in enumerate(zip(talks, answers, strict=True))
    ]
    found = await timed(chat.indexing.catch_up) / len(talks)
    began = time.process_time()
    for turns, answer in zip(talks, answers, strict=True):
        passages(turns[0].text)
        passages(answer)
    words = (time.process_time() - began) * 1000 / len(talks)
    tell(
        f"a question and its answer, written: {figures(row)};"
        f" indexed: {found:.2f} ms, their words {words:.2f} ms of CPU"
    )


def figures(row: list[float]) -> str:
    ordered = sorted(row)
    return (
        f"median {statistics.median(row):.1f}, p95 {ordered[int(len(row) * 0.95)]:.1f},"
        f" most {ordered[-1]:.1f} ms"
    )


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def measure(backend: str, folder: Path) -> None:
    speech = Speech()
    with database(backend, folder) as (url, upkeep):
        bare = Database(url, pool_size=1, timeout_seconds=60)
        await migrate(bare)
        await bare.close()
        async with Chat(url) as chat:
            much, *others = await people(chat, 1 + OTHERS)
            took = await timed(lambda: fill(chat, [much], SESSIONS, speech))
            took += await timed(lambda: fill(chat, others, SESSIONS_OF_ANOTHER, speech))
            tell(f"{backend}: filled in {took / 1000:.0f} s")
            took = await timed(chat.indexing.catch_up)
            tell(f"{backend}: indexed in {took / 1000:.0f} s")
            upkeep()
            sessions = SqlSessions(chat.database, chat.indexing, idle_seconds=3600, clock=now)
            plain = [
                await timed(lambda: sessions.page(much, Wanted(), None, PAGE)) for _ in range(100)
            ]
            tell(f"a page of sessions: {figures(plain)}")
            await searches(sessions, much, "one with 60,000 messages", speech)
            await searches(sessions, others[0], "one with 400", speech)
            await writing(chat, much, speech)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    tell(f"{backend}: the process had {most:.0f} MiB at most")


if __name__ == "__main__":
    for each in sys.argv[1:] or ("sqlite", "postgres"):
        with tempfile.TemporaryDirectory() as here:
            asyncio.run(measure(each, Path(here)))
