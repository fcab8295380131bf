"""The writer between a producer and a log that confirms later, refuses, or is lost."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from answers import BOUNDS, Chat, read_to_end
from runnel.chat.entities import Fitted, Generation, Status
from runnel.chat.outcomes import aborted
from runnel.chat.ports import StaleFence
from runnel.chat.writing import Writer
from runnel.errors import Code, RunnelError
from runnel.events import Aborted, End, Event, Position, Reset, Token
from runnel.streamlog.memory import MemoryLog
from waiting import soon


class LateLog(MemoryLog):
    """A log that confirms what is appended when the test says so, in its order."""

    def __init__(self) -> None:
        super().__init__(retention_seconds=60, total_bytes=10**9, page_bytes=10**6)
        self.late = True
        self.appended: list[list[Event]] = []
        self._unconfirmed: list[tuple[asyncio.Future[Position], tuple[Any, ...]]] = []

    def append(
        self, generation_id: str, fence: int, after: Position, events: Sequence[Event]
    ) -> "asyncio.Future[Position]":
        self.appended.append([*events])
        if not self.late:
            return super().append(generation_id, fence, after, events)
        done: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._unconfirmed.append((done, (generation_id, fence, after, events)))
        return done

    def begin(
        self, generation_id: str, epoch: int, fence: int, first: Event
    ) -> "asyncio.Future[Position]":
        begun = super().begin

        async def soon() -> Position:
            await asyncio.sleep(0)
            return await begun(generation_id, epoch, fence, first)

        return asyncio.ensure_future(soon())

    async def confirm(self) -> None:
        """What waits now is done, or refused."""
        waiting, self._unconfirmed = self._unconfirmed, []
        for done, arguments in waiting:
            answer = super().append(*arguments)
            if done.done():
                continue
            error = answer.exception()
            if error is None:
                done.set_result(answer.result())
            else:
                done.set_exception(error)
        await asyncio.sleep(0)


@pytest.fixture
async def late(chat: Chat) -> AsyncGenerator[Chat]:
    """A chat whose log is one that confirms later."""
    log = LateLog()
    chat.log = log
    chat.running._log = log
    yield chat
    log.late = False
    await log.confirm()


class Written:
    """A writer of a generation of the chat's, with the text that a producer would have."""

    def __init__(self, chat: Chat, log: LateLog, generation: Any, epoch: int = 0) -> None:
        self.text = ""
        self.lost = False
        self.log = log
        self.id: str = generation.id
        self.writer = Writer(
            generation,
            chat.store,
            log,
            text=lambda: self.text,
            fitted=lambda: Fitted(0),
            lost=self._lose,
            epoch=epoch,
        )

    def _lose(self) -> None:
        self.lost = True

    def say(self, *texts: str) -> None:
        for text in texts:
            self.text += text
            self.writer.write([Token(text)], 1)

    async def told(self) -> list[str]:
        reader = self.log.read(self.id)
        pages = [batch for batch in await reader.next() for batch in [batch]]
        reader.close()
        return [
            event.text if isinstance(event, Token) else f"{event.type}:{getattr(event, 'text', '')}"
            for batch in pages
            for event in batch.events
        ]


async def written(chat: Chat) -> Written:
    log = LateLog()
    generation = (await chat.begin(chat.question())).generation
    made = Written(chat, log, generation)
    await made.writer.begin(generation.start())
    return made


async def test_what_gathers_goes_on_in_batches_that_a_page_can_hold(chat: Chat) -> None:
    said = await written(chat)
    texts = [f"{number:05}" * 6000 for number in range(10)]  # 30,000 characters each
    said.say(*texts)
    for _ in texts:
        await said.log.confirm()
    assert [len(events) for events in said.log.appended] == [1, 3, 3, 3]
    assert said.writer.confirmed == len(texts)
    assert said.writer.settled
    assert "".join(await said.told()).endswith("".join(texts))


async def test_what_comes_meanwhile_gathers_and_goes_with_the_next(chat: Chat) -> None:
    made = await written(chat)
    made.say("a", "b", "c")
    assert [len(events) for events in made.log.appended] == [1]
    assert made.writer.confirmed == 0
    assert not await made.writer.settle(0)
    await made.log.confirm()
    assert (made.writer.position, made.writer.confirmed) == (Position(1, 1), 1)
    assert [len(events) for events in made.log.appended] == [1, 2]
    await made.log.confirm()
    assert await made.writer.settle(0)
    assert (made.writer.position, made.writer.confirmed) == (Position(1, 3), 3)
    assert await made.told() == ["start:", "a", "b", "c"]


async def test_a_log_that_is_lost_begins_again_with_all_that_was_written(chat: Chat) -> None:
    made = await written(chat)
    made.say("a")
    await made.log.confirm()
    made.say("b", "c")
    made.log.drop(made.id)
    await made.log.confirm()
    made.say("d")
    await soon(lambda: made.writer.position is not None and made.writer.position.epoch == 2)
    await made.log.confirm()
    assert await made.writer.settle(5)
    assert made.writer.confirmed == 4
    told = await made.told()
    assert told[0].startswith("reset:abc")
    assert "".join(told).removeprefix("reset:") == "abcd"


async def opened(chat: Chat) -> tuple[Generation, Written]:
    """A generation that is in its first epoch, and a writer that has to begin its log."""
    generation = (await chat.begin(chat.question())).generation
    epoch = (await chat.store.begin_epoch(generation.id, 1, Fitted(0))).number
    return generation, Written(chat, LateLog(), generation, epoch)


async def test_an_epoch_that_is_open_is_not_opened_again(chat: Chat) -> None:
    generation, made = await opened(chat)
    assert (made.writer.epoch, made.writer.position) == (1, None)
    assert await made.writer.begin(generation.start()) is None
    assert made.writer.position == Position(1, 0)
    assert (await chat.stored(generation)).epoch == 1
    await made.writer.begin(Reset(""))
    assert made.writer.position == Position(2, 0)
    assert (await chat.stored(generation)).epoch == 2


async def test_a_log_that_is_ahead_of_an_open_epoch_is_begun_with_the_next(chat: Chat) -> None:
    generation, made = await opened(chat)
    await made.log.begin(made.id, 1, 1, generation.start())
    await made.writer.begin(generation.start())
    assert made.writer.position == Position(2, 0)
    assert (await chat.stored(generation)).epoch == 2
    assert await made.told() == ["reset:"]


async def test_an_open_epoch_whose_beginning_broke_off_is_not_used_again(chat: Chat) -> None:
    generation, made = await opened(chat)
    beginning = asyncio.create_task(made.writer.begin(generation.start()))
    await asyncio.sleep(0)
    made.writer.interrupt()
    with pytest.raises(RunnelError) as broken:
        await beginning
    assert broken.value.code is Code.STREAM_UNAVAILABLE
    await made.writer.begin(Reset(""))
    assert made.writer.position == Position(2, 0)  # whether the first has begun is not known


async def test_another_owner_ends_the_writing(chat: Chat) -> None:
    made = await written(chat)
    made.say("a")
    await made.log.recover(made.id, 2)
    await made.log.confirm()
    assert made.lost
    with pytest.raises(StaleFence):
        made.say("b")
    with pytest.raises(StaleFence):
        await made.writer.settle(None)
    assert await made.told() == ["start:"]


async def test_what_was_under_way_in_an_epoch_that_is_over_is_nobodys(chat: Chat) -> None:
    made = await written(chat)
    made.say("a", "b")
    made.text = ""
    await made.writer.begin(Reset(""))
    made.say("c")
    await made.log.confirm()
    assert await made.writer.settle(1)
    assert (made.writer.position, made.writer.confirmed) == (Position(2, 1), 1)
    assert await made.told() == ["reset:", "c"]


async def test_a_model_is_read_on_while_nothing_is_confirmed(late: Chat) -> None:
    service = late.service()
    asked = await service.ask(late.question())
    log = late.log
    assert isinstance(log, LateLog)
    late.model.say(*"abc")
    late.model.finish()
    await late.model.closed.wait()
    assert (await late.stored(asked)).status is Status.RUNNING
    while not (await late.stored(asked)).status.terminal:
        await log.confirm()
    log.late = False
    await log.confirm()
    events = await read_to_end(await service.follow(asked))
    assert [event.text for event in events if isinstance(event, Token)] == ["a", "b", "c"]
    assert isinstance(events[-1], End)


@pytest.mark.parametrize("how", ["complete", "abort"])
async def test_an_end_does_not_wait_for_ever_for_what_is_unconfirmed(late: Chat, how: str) -> None:
    service = late.service(replace(BOUNDS, log_retry_seconds=0.05))
    asked = await service.ask(late.question())
    log = late.log
    assert isinstance(log, LateLog)
    late.model.say("a", "b")
    await soon(lambda: bool(log.appended))
    if how == "complete":
        late.model.finish()
    else:
        late.running.stop(asked.id, aborted("user"))
    await soon(lambda: bool(late.observed.generations))
    stored = await late.stored(asked)
    assert (stored.text, stored.position) == ("ab", Position(2, 1))
    # It is in the log once that is back, in an epoch of its own.
    log.late = False
    await log.confirm()
    await soon(lambda: not len(late.running))
    events = await read_to_end(await service.follow(asked))
    assert events[0] == Reset("ab")
    assert isinstance(events[-1], End if how == "complete" else Aborted)


async def test_checkpoints_have_what_is_confirmed_and_all_of_a_new_epoch(late: Chat) -> None:
    asked = await late.service().ask(late.question())
    log = late.log
    assert isinstance(log, LateLog)
    late.model.say("a", "b")
    await soon(lambda: bool(log.appended))
    await late.running._checkpoint()
    assert (await late.stored(asked)).text == ""
    await log.confirm()
    await late.running._checkpoint()
    stored = await late.stored(asked)
    assert (stored.text, stored.position) == ("a", Position(1, 1))
    log.drop(asked.id)
    await log.confirm()
    [producer] = late.running._producers.values()
    await soon(lambda: producer._writer.epoch == 2 and producer._writer.settled)
    await late.running._checkpoint()
    stored = await late.stored(asked)
    assert (stored.text, stored.position) == ("ab", Position(2, 0))
