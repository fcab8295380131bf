"""What runs is stopped, kept and drained, whatever a model does and wherever the database is."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import update
from typing_extensions import override

from answers import Chat, ToldModel, read_end, unpriced
from runnel.chat.choosing import Choose
from runnel.chat.closing import Closing
from runnel.chat.entities import Ask, AskKey, Ending, Params, Status, Turn
from runnel.chat.model_ports import Piece
from runnel.chat.outcomes import aborted
from runnel.chat.ports import Begun, Joined
from runnel.errors import Code, RunnelError
from runnel.events import Aborted, Position, Token, Usage
from runnel.store.tables import GenerationRow
from waiting import soon


class StubbornModel(ToldModel):
    """Swallows the first interruption, and goes on."""

    @override
    async def stream(
        self, turns: Sequence[Turn], params: Params
    ) -> AsyncGenerator[Sequence[Piece]]:
        del turns, params
        yield [Piece("one")]
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield [Piece(" two")]
        yield [Piece(" three")]
        yield [Piece(finish_reason="stop")]


async def test_an_abort_holds_even_if_a_library_swallows_it(chat: Chat) -> None:
    chat.model = StubbornModel()
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    while "'one'" not in str(await reader.next()):
        pass
    ended = await service.abort(chat.user_id, asked.id)
    assert (ended.status, ended.aborted_by) == (Status.ABORTED, "user")
    assert ended.text in {"one", "one two"}
    assert isinstance(await read_end(reader), Aborted)


async def test_what_was_to_be_aborted_is_aborted_after_a_crash(chat: Chat) -> None:
    begun = [
        (await chat.store.begin_ask(chat.question(session=name), chat.choose, "me")).generation
        for name in ("a", "b")
    ]
    await chat.store.request_abort(chat.user_id, begun[0].id, "user")
    assert len(await chat.store.interrupt_left_running(unpriced)) == 2
    first, second = [await chat.stored(generation) for generation in begun]
    assert (first.status, first.aborted_by, first.failure) == (Status.ABORTED, "user", None)
    assert second.status is Status.INTERRUPTED
    # And so are those who follow it told.
    assert isinstance(await read_end(await chat.service().follow(first)), Aborted)


async def test_who_joins_without_needing_a_reader_keeps_the_answer(chat: Chat) -> None:
    service = chat.service()
    question = replace(chat.question(), key=AskKey("k"), needs_reader=True)
    asked = await service.ask(question)
    assert chat.followers.audiences._audiences[asked.id].needed
    assert (await service.ask(question)).id == asked.id
    assert chat.followers.audiences._audiences[asked.id].needed
    assert (await service.ask(replace(question, needs_reader=False))).id == asked.id
    assert asked.id not in chat.followers.audiences._audiences


async def test_an_outcome_that_came_first_holds(chat: Chat) -> None:
    asked = await chat.service().ask(chat.question())
    [producer] = chat.running._producers.values()
    producer.stop(aborted("user"))
    producer.stop(aborted("server"))
    await chat.running.await_end(asked.id, 5)
    assert (await chat.stored(asked)).aborted_by == "user"


async def test_what_is_stopped_and_lost_in_one_moment_is_lost(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    chat.model.say("one")
    while "'one'" not in str(await reader.next()):
        pass
    chat.running.stop(asked.id, aborted("user"))
    await asyncio.sleep(0)  # the interruption is on its way
    chat.running.lose(asked.id, asked.fence)
    await chat.running.await_end(asked.id, 10)
    assert not len(chat.running)
    assert (await chat.stored(asked)).end is None  # that is for another to write


async def test_what_is_written_down_after_the_grace_has_its_end_too(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = chat.service()
    begin, begun, slow = chat.store.begin_ask, asyncio.Event(), asyncio.Event()

    async def begin_slowly(ask: Ask, choose: Choose, owner: str) -> Begun | Joined:
        begun.set()
        await slow.wait()
        return await begin(ask, choose, owner)

    monkeypatch.setattr(chat.store, "begin_ask", begin_slowly)
    asking = asyncio.create_task(service.ask(chat.question()))
    await begun.wait()
    draining = asyncio.create_task(chat.running.drain(0))
    await asyncio.sleep(0.05)
    slow.set()
    asked = await asking
    await draining
    assert (await chat.stored(asked)).status is Status.INTERRUPTED


async def test_who_has_lost_an_answer_neither_ends_it_nor_takes_its_log(chat: Chat) -> None:
    generation = (await chat.begin(chat.question())).generation
    async with chat.database.write() as connection:
        await connection.execute(update(GenerationRow).values(fence=2))
    last = await chat.log.begin(generation.id, 1, 2, generation.start())
    closing = Closing(chat.store, chat.log, chat.observed, store_retry_seconds=1)
    ending = Ending(Status.FAILED, "x", Position(2, 1), Usage(1, 1, "estimated"))
    await closing.give_up(generation, ending, "why?")
    assert not chat.observed.generations
    assert await chat.log.append(generation.id, 2, last, [Token("a")]) == Position(1, 1)
    assert (await chat.stored(generation)).status is Status.QUEUED


async def test_what_cannot_be_handed_back_is_not_ended_either(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise RunnelError(Code.STORE_UNAVAILABLE, "away")

    asked = await chat.service().ask(chat.question())
    chat.model.say("a")
    [producer] = chat.running._producers.values()
    await soon(lambda: producer._writer.confirmed == 1)
    monkeypatch.setattr(chat.store, "hand_back", away)
    producer.hand_back()
    await soon(lambda: not len(chat.running))
    assert (await chat.stored(asked)).status is Status.RUNNING
    assert not chat.observed.generations
