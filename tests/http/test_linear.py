"""A token costs the same in a long answer as in a short one: on the wire, in the database, in time."""

import asyncio
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from typing import Any, overload

import httpx
import pytest
from sqlalchemy import event
from typing_extensions import override

from doors import Asked, raw
from provider import Answer
from reading import dechunked, parsed_events, simplest_text, text_of
from runnel.store.chat import ChatStore
from standing import Standing, standing
from statements import told_of_statements

SHORT = 1000
LONG = 32_000
TIMES = LONG // SHORT
#: How many tokens there are between two checkpoints. By themselves they come by time, so that how
#: many an answer gets depends on the machine's mood; here both answers are told at one pace.
CHECKPOINT_TOKENS = 250
#: A long answer costs no more than so many short ones as have its length. The slack is for the
#: digits of positions (two more, on the 25 bytes of the smallest frame that tells its own) and for
#: the depth of the database's trees.
SLACK = 1.1
MOST_A_PAGE = 1024 * 1024
TOKEN_BYTES = 6
DIALECTS = ("attach text", "attach events")
#: Other processes make the processor's caches cold and its clock slow at their own times: only
#: what grows with the length itself can be told, which would cost tens of times as much.
SLACK_OF_TIME = 2.5


def tokens(number: int) -> list[str]:
    """All of one length."""
    return [f"{token:05} " for token in range(number)]


class Paced(Sequence[str]):
    """Pieces of an answer that tells when so many have been said."""

    def __init__(self, pieces: Sequence[str], each: int, tell: Callable[[int], None]) -> None:
        self._pieces = pieces
        self._each = each
        self._tell = tell

    def __len__(self) -> int:
        return len(self._pieces)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._pieces[index]

    @override
    def __iter__(self) -> Iterator[str]:
        for number, piece in enumerate(self._pieces):
            if number and number % self._each == 0:
                self._tell(number)
            yield piece


@dataclass
class Cost:
    """What one answer cost. Bytes, but for rows, statements, and seconds of the server's thread."""

    seconds: float = 0
    rows: int = 0
    statements: int = 0
    checkpoints: int = 0
    parameters: int = 0
    database: int = 0
    wire: dict[str, int] = field(default_factory=dict[str, int])


@contextmanager
def written(stand: Standing, cost: Cost) -> Generator[None]:
    """Counts what goes into the database."""
    store = stand.server.server.parts.chat._making._store
    assert isinstance(store, ChatStore)
    database = store._database
    engine = database.engine.sync_engine
    log = stand.server.settings.data_dir / "runnel.db-wal"

    def keep_log(connection: Any, _record: object, _proxy: object) -> None:
        # Of itself SQLite begins its log anew now and then, and its growth would say nothing.
        cursor = connection.cursor()
        cursor.execute("PRAGMA wal_autocheckpoint=0")
        cursor.close()

    def count(statement: str, values: Sequence[object], rows: int) -> None:
        cost.statements += 1
        cost.checkpoints += statement.startswith("INSERT INTO checkpoints")
        cost.rows += max(rows, 0)
        cost.parameters += sum(len(str(value)) for value in values)

    event.listen(engine, "checkout", keep_log)
    before = log.stat().st_size
    with told_of_statements(database, count):
        yield
    cost.database = log.stat().st_size - before
    event.remove(engine, "checkout", keep_log)


def thread_seconds(stand: Standing) -> float:
    """What the server's thread has used of the processor."""

    async def seconds() -> float:
        return time.thread_time()

    return stand.server.call(seconds())


async def received(request: httpx.Request) -> bytes:
    """A whole response, as it comes over the wire."""
    request.headers["Connection"] = "close"
    reader, writer = await asyncio.open_connection(request.url.host, request.url.port)
    writer.write(raw(request))
    response = await reader.read()
    writer.close()
    await writer.wait_closed()
    return response


async def cost_of(stand: Standing, number: int) -> Cost:
    """Of an answer with so many tokens, which is asked for, followed, and read again."""
    cost = Cost()
    with written(stand, cost):
        began = thread_seconds(stand)
        asking, asked = await ask(stand, number)
        live = [asyncio.create_task(received(asked.request(door))) for door in DIALECTS]
        stand.provider.release()
        responses: dict[str, bytes] = {"post": await asking}
        for door, reading in zip(DIALECTS, live, strict=True):
            responses[door] = await reading
        cost.seconds = thread_seconds(stand) - began
    middle = f"1-{number // 2}"
    for door in DIALECTS:
        responses[f"{door} in the middle"] = await received(asked.request(door, middle))
    text = "".join(tokens(number))
    for door, response in responses.items():
        _, body = dechunked(response)
        begun_at = number // 2 * TOKEN_BYTES if "middle" in door else 0
        assert text_in(door, body) == text[begun_at:]
        cost.wire[door] = len(response)
    cost.wire["poll"] = await cost_of_polling(asked, text)
    return cost


def text_in(door: str, body: bytes) -> str:
    if "events" not in door:
        return simplest_text(body)
    events = parsed_events(body)
    assert "reset" not in {each.name for each in events}
    return text_of(events)


async def ask(stand: Standing, number: int) -> tuple["asyncio.Task[bytes]", Asked]:
    """Asks in the plainest way; the answer waits at the gate."""
    running = stand.server.server.parts.chat._running

    def checkpoint(said: int) -> None:
        [producer] = running._producers.values()
        while (at := producer._writer.position) is None or at.offset < said:
            time.sleep(0.001)
        stand.server.call(running._checkpoint())

    stand.provider.hold()
    pieces = Paced(tokens(number), CHECKPOINT_TOKENS, checkpoint)
    prompt = stand.prompt(Answer(pieces, gate_after=0))
    url, headers = stand.server.url, stand.user.headers
    question = httpx.Request(
        "POST", f"{url}/api/generate", headers=headers, json={"prompt": prompt}
    )
    asking = asyncio.create_task(received(question))
    await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
    [[generation_id]] = stand.left_live()
    return asking, Asked(url, headers["Authorization"], {}, "", generation_id, "", "")


async def cost_of_polling(asked: Asked, text: str) -> int:
    """All pages together; each has its bound."""
    cost = 0
    seen = ""
    after: str | None = None
    while True:
        response = await received(asked.request("poll", after))
        cost += len(response)
        head, _, body = response.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        page = loads(body)
        assert len(body) < MOST_A_PAGE
        seen += "".join(each["text"] for each in page["events"] if each["type"] == "token")
        if page["done"]:
            assert seen == text
            return cost
        after = page["position"]


@pytest.mark.timeout(180)  # a busy machine takes its time for so many
async def test_a_long_answer_costs_no_more_than_as_many_short_ones(
    migrated: Path, tmp_path: Path
) -> None:
    quiet: dict[str, Any] = dict.fromkeys(
        ("checkpoint_seconds", "heartbeat_seconds", "revocation_check_seconds"), 3600
    )
    with standing(migrated, tmp_path, **quiet) as stand:
        await cost_of(stand, SHORT)  # what is done once for all is not counted
        shorts = [await cost_of(stand, SHORT) for _ in range(4)]
        long = await cost_of(stand, LONG)
    for short in shorts:
        for door, size in long.wire.items():
            assert size <= short.wire[door] * TIMES * SLACK, door
        assert long.rows <= short.rows * TIMES
        assert long.statements <= short.statements * TIMES
        assert long.parameters <= short.parameters * TIMES * SLACK
        assert long.database <= short.database * TIMES * SLACK
    # Each piece of the text goes in once by itself, once with all the others, and once as words.
    text_bytes = LONG * TOKEN_BYTES
    assert 2 * text_bytes - CHECKPOINT_TOKENS * TOKEN_BYTES <= long.parameters < 4 * text_bytes
    seconds_of_short = sum(short.seconds for short in shorts) / len(shorts)
    assert long.seconds <= seconds_of_short * TIMES * SLACK_OF_TIME


def test_checkpoints_come_by_time_and_not_by_tokens(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path, checkpoint_seconds=0.1) as stand:
        cost = Cost()
        began = time.monotonic()
        with written(stand, cost):
            answer = stand.ask("/chat", Answer(tokens(400), delay=0.001)).json()
        seconds = time.monotonic() - began
    assert answer["text"] == "".join(tokens(400))
    assert 0 < cost.checkpoints <= seconds / 0.1 + 1
