"""One answer, one end: the producer between model, log and store."""

import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from answers import BOUNDS, Chat, read_end, read_to_end, unpriced
from runnel.chat.attempt import Question
from runnel.chat.entities import INTERRUPTED, Ending, Generation, Params, Status
from runnel.chat.model_ports import Piece
from runnel.chat.outcomes import aborted, interrupted
from runnel.chat.ports import LogReader, Store
from runnel.chat.producer import Producer
from runnel.chat.prompt import fit
from runnel.errors import Code, RunnelError
from runnel.events import Aborted, End, Failed, Position, Start, Token, Usage


async def test_the_stored_text_is_what_the_tokens_were(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    chat.model.say("Hel", "lo\r", "\nyou", "\0")
    chat.model.finish()
    events = await read_to_end(await service.follow(asked))
    assert isinstance(events[0], Start)
    text = "".join(event.text for event in events if isinstance(event, Token))
    stored = await chat.stored(asked)
    assert text == stored.text == "Hello\nyou\ufffd"
    assert stored.status is Status.COMPLETED
    assert stored.position == Position(1, len(events) - 1)
    end = events[-1]
    assert isinstance(end, End)
    assert end.text_length == len(text)


async def test_what_the_cleaner_held_back_comes_before_the_end(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    chat.model.say("a\r")
    chat.model.finish()
    events = await read_to_end(await service.follow(asked))
    assert [event.text for event in events if isinstance(event, Token)] == ["a", "\n"]
    assert (await chat.stored(asked)).text == "a\n"


async def test_usage_that_comes_after_the_finish_reason_counts(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    chat.model.say("x")
    chat.model.told.put_nowait([Piece(finish_reason="length")])
    chat.model.told.put_nowait([Piece(usage=Usage(3, 1, "provider"))])
    chat.model.told.put_nowait(None)
    end = await read_end(await service.follow(asked))
    assert isinstance(end, End)
    assert (end.finish_reason, end.usage) == ("length", Usage(3, 1, "provider"))


async def test_an_abort_before_the_model_is_asked_holds(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    await service.abort_all(chat.user_id)
    end = await read_end(await service.follow(asked))
    assert isinstance(end, Aborted)
    assert (await chat.stored(asked)).status is Status.ABORTED


async def test_an_abort_in_mid_answer_keeps_the_text_and_closes_the_model(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    await say_and_read(chat, reader, "half of ")
    await service.abort_all(chat.user_id)
    assert chat.model.closed.is_set()
    stored = await chat.stored(asked)
    assert (stored.status, stored.text, stored.aborted_by) == (Status.ABORTED, "half of ", "user")
    assert stored.usage is not None
    assert stored.usage.source == "estimated"


@pytest.mark.parametrize("round_", range(30))
async def test_of_abort_and_completion_one_wins_for_everybody(chat: Chat, round_: int) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    chat.model.say("x")
    chat.model.finish()
    for _ in range(round_):
        await asyncio.sleep(0)
    await service.abort_all(chat.user_id)
    end = await read_end(reader)
    stored = await chat.stored(asked)
    assert end == stored.terminal()
    assert [generation.status for generation in chat.ended] == [stored.status]


async def test_what_a_model_raises_of_its_own_fails_the_answer(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    chat.model.say("x")
    chat.model.told.put_nowait(TimeoutError("not ours"))
    end = await read_end(await service.follow(asked))
    assert isinstance(end, Failed)
    assert end.code == Code.UPSTREAM_ERROR
    assert "not ours" not in end.message


async def test_an_end_that_came_first_is_the_one_that_readers_see(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    await say_and_read(chat, reader, "x")
    ending = Ending(
        status=Status.INTERRUPTED,
        text="",
        position=Position(2, 1),
        usage=Usage(1, 0, "estimated"),
        failure=INTERRUPTED,
    )
    await chat.store.finish(asked.id, asked.fence, ending)
    chat.model.finish()
    end = await read_end(reader)
    assert isinstance(end, Failed)
    assert end.code == Code.INTERRUPTED
    assert (await chat.stored(asked)).status is Status.INTERRUPTED


async def test_an_answer_over_its_bound_ends_with_length_at_a_whole_character(chat: Chat) -> None:
    service = chat.service(replace(BOUNDS, max_bytes=7))
    asked = await service.ask(chat.question())
    chat.model.say("ab", "€€€")
    end = await read_end(await service.follow(asked))
    assert isinstance(end, End)
    assert end.finish_reason == "length"
    assert (await chat.stored(asked)).text == "ab€"
    assert chat.model.closed.is_set()


async def test_checkpoints_hold_only_what_is_new_and_are_folded_at_the_end(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    for number, text in enumerate(("one ", "two ", "three"), start=1):
        await say_and_read(chat, reader, text)
        await chat.running._checkpoint()
        assert (await chat.stored(asked)).position == Position(1, number)
    assert (await chat.stored(asked)).text == "one two three"
    assert await _rows(chat, "SELECT text FROM checkpoints ORDER BY last_offset") == [
        "one ",
        "two ",
        "three",
    ]
    chat.model.finish()
    await read_end(reader)
    assert await _rows(chat, "SELECT text FROM checkpoints") == []
    assert (await chat.stored(asked)).text == "one two three"


async def test_what_a_crash_left_running_is_interrupted_with_its_checkpoints(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    await say_and_read(chat, reader, "so far")
    await chat.running._checkpoint()
    await chat.running.close()
    assert len(await chat.store.interrupt_left_running(unpriced)) == 1
    stored = await chat.stored(asked)
    assert (stored.status, stored.text) == (Status.INTERRUPTED, "so far")
    assert stored.position == Position(2, 1)
    assert stored.failure == INTERRUPTED
    assert await chat.store.interrupt_left_running(unpriced) == []


async def test_a_deleted_user_leaves_no_reader_waiting(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    chat.model.say("x")
    await reader.next()
    await _rows(chat, "DELETE FROM users RETURNING id")
    chat.model.finish()
    while await reader.next():
        pass
    assert chat.ended == []


async def test_a_checkpoint_whose_commit_was_not_heard_of_is_not_doubled(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    await say_and_read(chat, reader, "a")
    (producer,) = chat.running._producers.values()
    unheard = producer.unsaved()
    assert unheard is not None
    await chat.store.checkpoint([unheard])  # and nobody called saved()
    await say_and_read(chat, reader, "b")
    for _ in range(2):
        await chat.running._checkpoint()
    assert (await chat.stored(asked)).text == "ab"


async def test_a_generation_that_went_away_before_it_began_leaves_no_reader(chat: Chat) -> None:
    begun = await chat.begin(chat.question())
    await _rows(chat, "DELETE FROM sessions RETURNING id")
    producer = Producer(
        begun.generation,
        Question(
            "?",
            [chat.model],
            lambda _: fit(begun.turns, system_prompt=None, max_tokens=100),
            Params(),
        ),
        store=chat.store,
        log=chat.log,
        bounds=BOUNDS,
        observer=chat.observed,
    )
    reader = chat.log.read(begun.generation.id)
    chat.running.start(producer)
    assert await reader.next() == ()


async def test_an_end_that_no_column_takes_still_ends_the_generation(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    reader = await service.follow(asked)
    chat.model.say("x")
    chat.model.told.put_nowait([Piece(usage=Usage(10**30, 1, "provider"), finish_reason="stop")])
    chat.model.told.put_nowait(None)
    while await reader.next():
        pass
    stored = await chat.stored(asked)
    assert (stored.status, stored.text) == (Status.FAILED, "x")
    assert chat.log._logs == {}


async def test_an_answer_is_whole_once_its_finish_reason_has_come(chat: Chat) -> None:
    service = chat.service()
    asked = await service.ask(chat.question())
    chat.model.say("whole")
    chat.model.told.put_nowait([Piece(finish_reason="stop")])
    chat.model.told.put_nowait(RunnelError(Code.UPSTREAM_INCOMPLETE, "hung up"))
    assert isinstance(await read_end(await service.follow(asked)), End)
    assert (await chat.stored(asked)).status is Status.COMPLETED


async def test_too_many_small_pieces_end_with_length(chat: Chat) -> None:
    service = chat.service(replace(BOUNDS, max_events=3))
    asked = await service.ask(chat.question())
    chat.model.say("a", "b", "c", "d")
    end = await read_end(await service.follow(asked))
    assert isinstance(end, End)
    assert (end.finish_reason, (await chat.stored(asked)).text) == ("length", "abc")


async def test_no_terminal_event_is_shown_before_it_is_stored(migrated: Path) -> None:
    async with away_from(migrated) as (chat, away):
        service = chat.service()
        asked = await service.ask(chat.question())
        reader = await service.follow(asked)
        await say_and_read(chat, reader, "whole")
        chat.model.finish()
        await away.tried.wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.next(), 0.1)
        away.back.set()
        assert isinstance(await read_end(reader), End)
        assert (await chat.stored(asked)).text == "whole"


async def test_readers_are_let_go_when_the_end_cannot_be_stored_for_long(migrated: Path) -> None:
    async with away_from(migrated) as (chat, away):
        service = chat.service(replace(BOUNDS, store_retry_seconds=0))
        asked = await service.ask(chat.question())
        reader = await service.follow(asked)
        chat.model.say("whole")
        chat.model.finish()
        while batches := await reader.next():
            assert not batches[-1].events[-1].terminal
        away.back.set()
        # The end is written all the same, as soon as it can be.
        assert isinstance(await read_end(await service.follow(asked)), End)


async def test_a_drain_gives_the_grace_then_interrupts_and_takes_no_more(chat: Chat) -> None:
    service = chat.service()
    quick = await service.ask(chat.question(session="quick"))
    chat.model.say("done")
    chat.model.finish()
    await read_end(await service.follow(quick))
    slow = await service.ask(chat.question(session="slow"))
    await service.drain(0)
    end = await read_end(await service.follow(slow))
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == (Code.INTERRUPTED, True)
    with pytest.raises(RunnelError) as refused:
        await service.ask(chat.question())
    assert refused.value.code is Code.SHUTTING_DOWN


async def test_an_ask_whose_asker_left_at_once_is_answered(chat: Chat) -> None:
    service = chat.service()
    asking = asyncio.create_task(service.ask(chat.question(session="left")))
    await asyncio.sleep(0)
    asking.cancel()
    chat.model.say("still here")
    chat.model.finish()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await chat.running.drain(30)
    (ended,) = chat.ended
    assert (ended.status, ended.text) == (Status.COMPLETED, "still here")


def test_outcomes_say_who_and_why() -> None:
    assert aborted("server").aborted_by == "server"
    assert interrupted().failure == INTERRUPTED


async def say_and_read(chat: Chat, reader: LogReader, text: str) -> None:
    chat.model.say(text)
    while not any(isinstance(e, Token) for b in await reader.next() for e in b.events):
        pass


class Away:
    """A store whose database cannot write ends until it is back."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.tried = asyncio.Event()
        self.back = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def finish(self, generation_id: str, fence: int, ending: Ending) -> Generation | None:
        self.tried.set()
        if not self.back.is_set():
            raise RunnelError(Code.STORE_UNAVAILABLE, "away")
        return await self._store.finish(generation_id, fence, ending)


@asynccontextmanager
async def away_from(migrated: Path) -> AsyncGenerator[tuple[Chat, Away]]:
    """A chat core whose database takes no ends, and the switch that brings it back."""
    away: list[Away] = []

    def wrap(store: Store) -> Store:
        away.append(Away(store))
        return cast("Store", away[0])  # it passes on what it does not know

    copy = Path("away.db")  # each test has a folder of its own
    shutil.copy(migrated, copy)
    async with Chat(copy, store=wrap) as chat:
        yield chat, away[0]


async def _rows(chat: Chat, sql: str) -> list[str]:
    async with chat.database.write() as connection:
        result = await connection.exec_driver_sql(sql)
        return [row[0] for row in result]
