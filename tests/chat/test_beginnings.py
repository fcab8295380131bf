"""A question's transaction begins its answer too: who stops that meanwhile, and what a crash leaves."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import pytest
from sqlalchemy import update

from answers import BOUNDS, Chat, read_to_end, unpriced
from runnel.chat.choosing import Choose, Chosen, Found
from runnel.chat.closing import Closing
from runnel.chat.entities import Ask, Generation, Params, Status
from runnel.chat.outcomes import aborted
from runnel.chat.ports import Begun, Joined, StaleFence, Store
from runnel.chat.takeover import Policy, Reopened, Taken, Takeover
from runnel.errors import Code, RunnelError
from runnel.events import Event, Failed, Position, Reset, Token
from runnel.store.engine import Database
from runnel.store.lease_store import SqlLeases
from runnel.store.tables import GenerationRow
from waiting import soon


@dataclass(frozen=True)
class Moment:
    """Of a question that is being written down, whose answer has no producer yet."""

    name: str
    generation_id: str
    session_id: str | None


MOMENTS = ("before the commit", "behind the commit", "before the start")
Meanwhile = Callable[[Moment], None]


class Interrupted:
    """A store, and an instance, between whose steps something else comes first."""

    def __init__(self, chat: Chat, meanwhile: Meanwhile) -> None:
        self._store = chat.store
        self._meanwhile = meanwhile
        self._session_id: str | None = None
        start = chat.running.start

        def started(producer: object, *, needs_reader: bool = False) -> None:
            generation = cast("Generation", getattr(producer, "generation", None))
            meanwhile(Moment("before the start", generation.id, generation.session_id))
            start(producer, needs_reader=needs_reader)  # pyright: ignore[reportArgumentType] - it is one

        chat.running.start = started  # pyright: ignore[reportAttributeAccessIssue] - for this test
        chat.store = cast("Store", self)  # it passes on what it does not know

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def begin_ask(self, ask: Ask, choose: Choose, owner: str) -> Begun | Joined:
        def chosen_then(found: Found) -> Chosen:
            chosen = choose(found)
            self._meanwhile(Moment("before the commit", found.generation_id, None))
            return chosen

        begun = await self._store.begin_ask(ask, chosen_then, owner)
        generation = begun.generation
        self._meanwhile(Moment("behind the commit", generation.id, generation.session_id))
        return begun


async def talked(chat: Chat, session: str) -> str:
    """The id of a session in which something was said."""
    chat.model.say("hello")
    chat.model.finish()
    asked = await chat.service().ask(chat.question(session=session))
    await read_to_end(await chat.follow(asked))
    await soon(lambda: not len(chat.running))
    chat.model.asked.clear()
    return asked.session_id


@pytest.mark.parametrize("how", ["by its id", "by its user", "all of a user's", "all of a session"])
@pytest.mark.parametrize("when", MOMENTS)
async def test_a_stop_that_comes_before_the_producer_holds(chat: Chat, when: str, how: str) -> None:
    session_id = await talked(chat, "s")
    seen = list[str]()

    def stop(moment: Moment) -> None:
        seen.append(moment.name)
        if moment.name != when:
            return
        assert not chat.running.makes(moment.generation_id)
        assert chat.running.fences() == {moment.generation_id: None}  # its lease is kept
        match how:
            case "by its id":
                chat.running.stop(moment.generation_id, aborted("user"))
            case "by its user":
                assert not chat.running.abort(chat.user_id, moment.generation_id, "user")
            case "all of a user's":
                chat.running.stop_all(aborted("user"), user_id=chat.user_id)
            case _:
                chat.running.stop_all(aborted("user"), session_id=session_id)

    Interrupted(chat, stop)
    asked = await chat.service().ask(chat.question(session="s"))
    chat.model.say("never heard")
    chat.model.finish()
    events = await read_to_end(await chat.follow(asked))
    assert seen == [*MOMENTS]
    assert [event.type for event in events] == ["start", "aborted"]
    kept = await chat.stored(asked)
    assert (kept.status, kept.aborted_by, kept.position) == ("aborted", "user", Position(1, 1))
    assert chat.model.asked == []  # nothing was paid for
    await soon(lambda: not len(chat.running))
    assert chat.running.fences() == {}


@pytest.mark.parametrize("when", MOMENTS)
async def test_a_stop_that_is_meant_for_others_stops_others(chat: Chat, when: str) -> None:
    def stop(moment: Moment) -> None:
        if moment.name == when:
            chat.running.stop("another", aborted("user"))
            chat.running.abort("somebody else", moment.generation_id, "user")
            chat.running.stop_all(aborted("user"), user_id="somebody else")
            chat.running.stop_all(aborted("user"), session_id="another")

    Interrupted(chat, stop)
    chat.model.say("a")
    chat.model.finish()
    asked = await chat.service().ask(chat.question())
    assert [event.type for event in await read_to_end(await chat.follow(asked))] == [
        "start",
        "token",
        "end",
    ]


async def test_what_is_not_written_down_is_not_waited_for(chat: Chat) -> None:
    def fail(moment: Moment) -> None:
        del moment
        raise RunnelError(Code.MODEL_UNAVAILABLE, "gone meanwhile")

    Interrupted(chat, fail)
    with pytest.raises(RunnelError):
        await chat.service().ask(chat.question())
    assert chat.running.fences() == {}


async def test_a_question_without_files_is_one_transaction(
    chat: Chat, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> None:
        pytest.fail("a second transaction")

    monkeypatch.setattr(chat.store, "begin_epoch", refused)
    asked = await chat.service().ask(chat.question())
    assert (asked.status, asked.epoch) == (Status.QUEUED, 0)  # as it was taken
    kept = await chat.stored(asked)
    assert (kept.status, kept.epoch, kept.position) == (Status.RUNNING, 1, None)
    assert kept.context is not None
    assert (kept.context.messages, kept.context.left_out) == (1, 0)
    chat.model.say("a")
    chat.model.finish()
    await read_to_end(await chat.follow(asked))
    ended = await chat.stored(asked)
    assert (ended.status, ended.position) == (Status.COMPLETED, Position(1, 2))
    assert ended.context == kept.context


async def left_behind(chat: Chat) -> Generation:
    """What a crash leaves behind the commit of a question."""
    making = chat.service()._making
    asked = chat.question("what is to be answered?")
    begun = await chat.store.begin_ask(asked, lambda found: making.choose(asked, found), "gone")
    assert isinstance(begun, Begun)
    assert begun.epoch == 1
    return begun.generation


async def test_a_crash_right_behind_the_commit_ends_as_any_other(chat: Chat) -> None:
    generation = await left_behind(chat)
    [ended] = await chat.store.interrupt_left_running(unpriced)
    assert (ended.status, ended.position) == (Status.INTERRUPTED, Position(2, 1))
    assert ended.usage is not None
    assert ended.usage.prompt_tokens > 0  # it may have been asked
    follower = await chat.service().attach(chat.user_id, generation.id)
    reset, failed = await read_to_end(follower)
    assert reset == Reset("")
    assert isinstance(failed, Failed)
    assert failed.code is Code.INTERRUPTED


class Reopening:
    """Implements chat.takeover.TakeoverStore."""

    def __init__(self, database: Database) -> None:
        self._leases = SqlLeases(database, history_max_messages=100)

    async def reopen(self, taken: Taken) -> Reopened | None:
        return await self._leases.reopen(taken)


async def taken_over(chat: Chat, generation: Generation, policy: Policy) -> Sequence[Event]:
    """What a reader is told who was there before."""
    async with chat.database.write() as connection:
        await connection.execute(update(GenerationRow).values(fence=2))
    reader = await chat.service().attach(chat.user_id, generation.id)
    takeover = Takeover(
        Reopening(chat.database),
        chat.log,
        chat.service()._making,
        chat.running,
        Closing(chat.store, chat.log, chat.observed, store_retry_seconds=1),
        policy=policy,
        log_retry_seconds=BOUNDS.log_retry_seconds,
    )
    taken = replace(await chat.stored(generation), fence=2)
    await takeover.resume(Taken(taken, Params(), 7, False, False, None, 0.0))
    return await read_to_end(reader)


async def test_an_answer_whose_log_never_began_is_taken_over(chat: Chat) -> None:
    generation = await left_behind(chat)
    chat.model.say("a")
    chat.model.finish()
    events = await taken_over(chat, generation, "restart")
    assert events[:2] == [Reset(""), Token("a")]
    kept = await chat.stored(generation)
    assert (kept.status, kept.text, kept.position) == (Status.COMPLETED, "a", Position(2, 2))
    with pytest.raises(StaleFence):  # who was away only for a while begins no log any more
        await chat.log.begin(generation.id, 1, 1, generation.start())


async def test_an_answer_whose_log_never_began_is_ended_where_that_is_wanted(chat: Chat) -> None:
    generation = await left_behind(chat)
    reset, failed = await taken_over(chat, generation, "fail")
    assert (reset, failed.type) == (Reset(""), "failed")
    assert (await chat.stored(generation)).position == Position(2, 1)


async def test_who_asks_may_leave_at_any_moment(chat: Chat) -> None:
    asking = asyncio.create_task(chat.service().ask(chat.question()))
    await asyncio.sleep(0)
    asking.cancel()
    await soon(lambda: len(chat.running) == 1)
    chat.model.say("a")
    chat.model.finish()
    await soon(lambda: len(chat.ended) == 1)
    assert chat.ended[0].text == "a"
