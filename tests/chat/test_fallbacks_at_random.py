"""Three models that do anything, and readers that come and go: one text, one end, told alike."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

import pytest

from answers import BOUNDS, TERMS, Chat, ToldModel
from runnel.chat.entities import Generation, Params, Turn
from runnel.chat.model_ports import NotTakenError, Piece
from runnel.chat.outcomes import interrupted
from runnel.chat.places import Places
from runnel.chat.retrying import Retries
from runnel.chat.service import ChatService
from runnel.chat.terms import Price
from runnel.errors import Code, RunnelError
from runnel.events import End, Event, Position, Usage, text_of

FAULTS: Final = (
    RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"),
    NotTakenError(Code.UPSTREAM_ERROR, "failed (HTTP 503)"),
    RunnelError(Code.UPSTREAM_TIMEOUT, "did not answer in time"),
    ValueError("of the library's own"),
    RunnelError(Code.UPSTREAM_ERROR, "refused", retryable=False),
)
TEXTS: Final = ("a", "b\r", "\nc", "", "\ud83d", "\ude00", "[DONE]\n")
AT_ONCE = 25
PLACES = 3
BRIEF: Final = replace(
    BOUNDS,
    idle_seconds=0.05,
    first_token_seconds=0.05,
    total_seconds=0.4,
    retries=Retries(2, 0.5),
)


class WildModel(ToldModel):
    """Says something or nothing, breaks off, falls silent, ends; and may swallow interruptions."""

    def __init__(self, alias: str, lot: random.Random) -> None:
        super().__init__(alias, terms=replace(TERMS, price=Price(1, 1)))
        self.places = Places(PLACES)
        self._lot = lot

    async def stream(
        self, turns: Sequence[Turn], params: Params
    ) -> AsyncGenerator[Sequence[Piece]]:
        del turns, params
        lot = self._lot
        await asyncio.sleep(lot.choice([0, 0, 0.001, 0.01]))
        for _ in range(lot.choice([0, 0, 1, 3, 8])):
            await asyncio.sleep(lot.choice([0, 0, 0.001, 0.004]))
            yield [Piece(lot.choice(TEXTS))] * lot.choice([1, 2])
        fate = lot.random()
        if fate < 0.4:
            raise lot.choice(FAULTS)
        if fate < 0.5:
            await self._fall_silent()
        if fate < 0.6:
            return
        yield [Piece(finish_reason=lot.choice(["stop", "length"]))]
        await asyncio.sleep(lot.choice([0, 0.001, 0.02]))
        yield [Piece(usage=Usage(3, 4, "provider"))]

    async def _fall_silent(self) -> None:
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            if self._lot.random() < 0.5:
                raise ValueError("swallowed") from None
            raise


async def read(
    service: ChatService, chat: Chat, asked: Generation, cuts: random.Random | None
) -> list[Event]:
    """All that a reader is told, who is cut off again and again, or not at all."""
    events: list[Event] = []
    position: Position | None = None
    for _ in range(200):
        follower = await service.attach(chat.user_id, asked.id, position)
        try:
            async with asyncio.timeout(cuts.uniform(0.001, 0.05) if cuts else 20):
                while batches := await follower.next():
                    events += [event for batch in batches for event in batch.events]
                    position = follower.position
        except TimeoutError:
            pass
        finally:
            follower.leave()
        if follower.finished:
            return events
    raise AssertionError(events)


async def ask_and_compare(service: ChatService, chat: Chat, lot: random.Random) -> None:
    asked = await service.ask(chat.question())
    readers = [asyncio.create_task(read(service, chat, asked, cuts)) for cuts in (None, lot, lot)]
    await asyncio.sleep(lot.uniform(0, 0.06))
    fate = lot.random()
    if fate < 0.2:
        await service.abort(chat.user_id, asked.id)
    elif fate < 0.25:
        for producer in chat.running._producers.values():
            if producer.generation.id == asked.id:
                producer.stop(interrupted())
    told = await asyncio.gather(*readers)
    stored = await chat.stored(asked)
    assert stored.status.terminal
    assert stored.usage is not None
    assert stored.usage.cost is not None
    for events in told:
        assert text_of(events) == stored.text
        assert [event for event in events if event.terminal] == [events[-1]]
        assert events[-1] == stored.terminal()
        if isinstance(events[-1], End):
            assert events[-1].text_length == len(stored.text)


async def tick(chat: Chat) -> None:
    """What the server's watch does, a few hundred times faster."""
    while True:
        await asyncio.sleep(0.003)
        for producer in chat.running._producers.values():
            producer.enforce_deadlines()
        await chat.running._checkpoint()


@pytest.mark.parametrize("seed", range(3))
async def test_readers_and_row_agree_whatever_models_do(chat: Chat, seed: int) -> None:
    lot = random.Random(seed)
    chat.restarts = True
    models: list[ToldModel] = [
        WildModel(alias, lot) for alias in ("chat/one", "chat/two", "chat/three")
    ]
    chat.model, *chat.others = models
    service = chat.service(BRIEF)
    ticking = asyncio.create_task(tick(chat))
    for _ in range(3):
        await asyncio.gather(*(ask_and_compare(service, chat, lot) for _ in range(AT_ONCE)))
    ticking.cancel()
    with suppress(asyncio.CancelledError):
        await ticking
    await chat.running.drain(0)
    # Every place was given back.
    for model in models:
        async with asyncio.timeout(1):
            for _ in range(PLACES):
                await model.places.__aenter__()
