"""Answers that are raced for, and what must be true of each in the end."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from assembling import Assembled, Reply, assert_agree, reply_of
from cuts import SEED, Question, Reader
from cutting_off import exchange
from provider import Answer
from serving import Signed
from standing import Json, Standing
from waiting import POLL_SECONDS, POLLS
from wire import query

PIECES: Final = ("One", " two\n", "[DONE]", "\nfour 😀", " five")
WHOLE: Final = "".join(PIECES)
_SPREAD_SECONDS: Final = 0.01
_STEP_SECONDS: Final = 0.004


class Moment:
    """When the two sides of a race begin: at random around where each wins every other time."""

    def __init__(self, choice: random.Random) -> None:
        self._choice = choice
        self._later = 0.0  # the second than the first, in seconds

    async def first(self) -> None:
        await asyncio.sleep(_SPREAD_SECONDS + max(0.0, -self._later))

    async def second(self) -> None:
        spread = self._choice.uniform(-_SPREAD_SECONDS, _SPREAD_SECONDS)
        await asyncio.sleep(_SPREAD_SECONDS + max(0.0, self._later) + spread)

    def second_won(self, *, won: bool) -> None:
        """The more it wins, the later it begins."""
        self._later += _STEP_SECONDS if won else -_STEP_SECONDS


class Raced:
    """An answer, asked for in the background, and its readers."""

    def __init__(self, stand: Standing, answer: Answer, user: Signed | None = None) -> None:
        self.question = Question(stand, stand.prompt(answer), user)
        self.reading: list[asyncio.Task[Assembled]] = []
        self._stand = stand

    async def ask(self, choice: random.Random) -> None:
        asking = self.question.asking(choice, "background", "text", None)
        reply = reply_of(await exchange(self.question.port, asking))
        assert reply.status == 202, reply
        self.question.learn(reply.headers["x-generation-id"], reply.headers["x-session-id"])

    def read(self, choice: random.Random) -> None:
        """From now on two read it; one of them is cut now and then."""
        for often in (0.0, 0.3):
            own = random.Random(choice.random())
            reader = Reader(self.question, own, Counter(), often=often)
            self.reading.append(asyncio.create_task(reader.read()))

    async def abort(self) -> Reply:
        return await self.question.call("POST", f"{self._path}/abort")

    async def shown(self) -> Json:
        reply = await self.question.call("GET", self._path)
        assert reply.status == 200, reply
        return json.loads(reply.body)

    async def end(self, *aborts: Reply) -> tuple[Json, str]:
        """What all were told, whoever comes now is told, and is stored: the same. And by whom."""
        late = Reader(self.question, random.Random(SEED), Counter(), often=0)
        read = [*await asyncio.gather(*self.reading), await late.read()]
        kept = await self.shown()
        assert_agree(read, kept)
        for abort in (*aborts, await self.abort()):
            assert (abort.status, json.loads(abort.body)) == (200, kept)
        return kept, self._stored(kept)

    @property
    def _path(self) -> str:
        return f"/api/generations/{self.question.generation_id}"

    def _stored(self, kept: Json) -> str:
        [[status, text, reason, by]] = query(
            self._stand.server,
            "SELECT g.status, m.content, finish_reason, aborted_by"
            " FROM generations g JOIN messages m ON m.id = g.message_id"
            " WHERE g.id = ?",
            kept["generation_id"],
        )
        completed = status == "completed"
        assert (status, text) == (kept["status"], kept["text"])
        assert (reason, by is None) == ("stop" if completed else None, completed)
        assert kept["usage"]["source"] == ("provider" if completed else "estimated")
        assert text == WHOLE if completed else WHOLE.startswith(text)
        return by or ""


async def asked(stand: Standing, choice: random.Random, answers: Sequence[Answer]) -> list[Raced]:
    raced = [Raced(stand, answer) for answer in answers]
    await asyncio.gather(*(race.ask(choice) for race in raced))
    return raced


async def attached(stand: Standing, readers: int) -> None:
    """Waits until so many follow some answer."""
    for _ in range(POLLS):
        if len(stand.server.server.parts.chat._followers) >= readers:
            return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError


def assert_asked_once(stand: Standing, raced: Sequence[Raced], *, at_least: int = 1) -> None:
    """The provider was, for each."""
    asks = Counter(ask.body["messages"][-1]["content"] for ask in stand.provider.asks)
    assert {asks[race.question.prompt] for race in raced} <= {at_least, 1}


async def assert_unchanged(ends: Sequence[tuple[Raced, Json]]) -> None:
    """Much else has happened since these were shown."""
    for raced, end in ends:
        assert await raced.shown() == end
