"""Following one answer: from the log, from its row where the log has nothing, and letting go."""

import asyncio
import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import cast

import pytest

from answers import Chat, read_to_end
from runnel.chat.entities import INTERRUPTED, Ending, Generation, Status
from runnel.chat.following import Follower
from runnel.chat.ports import Seen, Store
from runnel.errors import Code, RunnelError
from runnel.events import End, Event, Position, Reset, Start, Token, Usage, text_of

NOBODYS = "01890000-0000-7000-8000-000000000000"
READ_SECONDS = 5


async def events_of(follower: Follower) -> list[Event]:
    """What is there at once, or comes next."""
    async with asyncio.timeout(READ_SECONDS):
        return [event for batch in await follower.next() for event in batch.events]


async def say(chat: Chat, follower: Follower, *texts: str) -> None:
    """The model says so, and the follower has read it."""
    chat.model.say(*texts)
    await hear(follower, "".join(texts))


async def hear(follower: Follower, text: str) -> None:
    heard = ""
    while heard != text:
        heard += text_of(event for event in await events_of(follower) if isinstance(event, Token))


async def finished(chat: Chat, *texts: str) -> Generation:
    asked = await chat.service().ask(chat.question())
    chat.model.say(*texts)
    chat.model.finish()
    follower = await chat.follow(asked)
    await read_to_end(follower)
    follower.leave()
    return await chat.stored(asked)


def ending(position: Position, text: str, status: Status = Status.ABORTED) -> Ending:
    usage = Usage(1, 1, "estimated")
    failure = INTERRUPTED if status is Status.INTERRUPTED else None
    return Ending(status, text, position, usage, aborted_by="server", failure=failure)


@pytest.fixture
def impatient(chat: Chat) -> Chat:
    """Whoever waits at all has waited for long."""
    chat.followers._silence_seconds = 0
    return chat


async def waiting(follower: Follower) -> "asyncio.Task[list[Event]]":
    """A read that waits, as all there was is read."""
    task = asyncio.create_task(events_of(follower))
    await asyncio.sleep(0)
    assert follower._silent_since is not None
    return task


async def test_it_gives_all_in_order_and_then_nothing(chat: Chat) -> None:
    asked = await chat.service().ask(chat.question())
    follower = await chat.follow(asked)
    assert follower.position is None
    await say(chat, follower, "a", "b")
    assert (follower.position, follower.finished) == (Position(1, 2), False)
    chat.model.finish()
    (end,) = await events_of(follower)
    assert isinstance(end, End)
    assert (follower.position, follower.finished) == (Position(1, 3), True)
    assert await follower.next() == await follower.next() == ()
    assert chat.observed.resets == []
    assert chat.observed.resumes == 0


async def test_behind_each_position_comes_exactly_the_rest(chat: Chat) -> None:
    asked = await finished(chat, "a", "b", "c")
    whole = await read_to_end(await chat.service().attach(chat.user_id, asked.id))
    assert [event.type for event in whole] == ["start", "token", "token", "token", "end"]
    for offset in range(4):
        follower = await chat.service().attach(chat.user_id, asked.id, Position(1, offset))
        assert await read_to_end(follower) == whole[offset + 1 :]
    assert chat.observed.resumes == 4
    ended = await chat.service().attach(chat.user_id, asked.id, Position(1, 4))
    assert (ended.finished, await ended.next()) == (True, ())
    assert chat.observed.resumes == 4  # nothing was left to resume
    assert chat.observed.resets == []


@pytest.mark.parametrize("position", [Position(1, 99), Position(9, 0)])
async def test_what_no_log_has_is_answered_with_the_text_so_far_and_then_on(
    chat: Chat, position: Position
) -> None:
    asked = await chat.service().ask(chat.question())
    first = await chat.follow(asked)
    await say(chat, first, "a", "b")
    follower = await chat.service().attach(chat.user_id, asked.id, position)
    assert await events_of(follower) == [Reset("ab")]
    assert follower.position == Position(1, 2)
    await say(chat, follower, "c")
    assert follower.position == Position(1, 3)
    assert chat.observed.resets == ["position"]


@pytest.mark.parametrize("user", ["mine", "another's"])
async def test_what_is_not_ones_own_is_not_found(chat: Chat, user: str) -> None:
    asked = await chat.service().ask(chat.question())
    who, what = (chat.user_id, NOBODYS) if user == "mine" else (NOBODYS, asked.id)
    for attempt in (chat.service().attach(who, what), chat.service().abort(who, what)):
        with pytest.raises(RunnelError) as refused:
            await attempt
        assert refused.value.code is Code.NOT_FOUND
    assert len(chat.followers) == 0
    assert chat.log._waiting == {}


@pytest.mark.parametrize("how", ["leave", "close"])
async def test_leaving_ends_a_read_that_waits_and_is_done_once(chat: Chat, how: str) -> None:
    asked = await chat.service().ask(replace(chat.question(), needs_reader=True))
    follower = await chat.follow(asked)
    await say(chat, follower, "a")
    read = await waiting(follower)
    audience = chat.followers.audiences._audiences[asked.id]
    assert (audience.readers, audience.gone_at) == (1, None)
    for _ in range(3):
        follower.leave() if how == "leave" else follower.close()
    follower.leave()  # as whoever held it does at its end
    assert await read == []
    assert await follower.next() == ()
    assert (follower.finished, len(chat.followers), chat.log._waiting) == (False, 0, {})
    assert audience.readers == 0
    assert (audience.gone_at is None) == (how == "close")


async def test_one_that_left_is_not_told_an_end_any_more(chat: Chat) -> None:
    asked = await finished(chat, "a")
    for left in (Follower.leave, Follower.close):
        follower = await chat.service().attach(chat.user_id, asked.id, Position(1, 0))
        left(follower)
        follower.end_with(asked)
        assert await follower.next() == ()


async def test_cancelling_a_read_loses_nothing(chat: Chat) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - for whoever has to repeat it
    chance = random.Random(seed)
    asked = await chat.service().ask(chat.question())
    follower = await chat.follow(asked)
    said = [f"{number} " for number in range(100)]
    heard: list[Event] = []
    for text in said:
        read = asyncio.create_task(follower.next())
        for _ in range(chance.randrange(4)):
            await asyncio.sleep(0)
        chat.model.say(text)
        for _ in range(chance.randrange(12)):
            await asyncio.sleep(0)
        read.cancel()
        await asyncio.wait([read])
        if not read.cancelled():
            heard += [event for batch in read.result() for event in batch.events]
    chat.model.finish()
    heard += await read_to_end(follower)
    assert isinstance(heard[0], Start)
    assert [e.text for e in heard if isinstance(e, Token)] == said
    assert isinstance(heard[-1], End)


async def test_a_log_that_goes_on_anew_is_read_on_anew(chat: Chat) -> None:
    asked = await chat.service().ask(chat.question())
    follower = await chat.follow(asked)
    await say(chat, follower, "a", "b")
    await chat.log.begin(asked.id, 2, 2, Reset("a"))
    assert await events_of(follower) == [Reset("a")]
    await chat.log.append(asked.id, 2, Position(2, 0), [Token("c")])
    assert await events_of(follower) == [Token("c")]
    assert chat.observed.resets == ["epoch"]
    newcomer = await chat.follow(asked)
    assert await events_of(newcomer) == [Reset("a"), Token("c")]
    assert chat.observed.resets == ["epoch"]  # a newcomer has nothing to take back


@pytest.mark.parametrize(
    ("after", "told"),
    [
        (None, [Reset("ab"), "end"]),
        (Position(1, 0), [Reset("ab"), "end"]),
        (Position(1, 1), [Reset("ab"), "end"]),
        (Position(1, 2), ["end"]),
        (Position(1, 3), []),
        (Position(1, 4), [Reset("ab"), "end"]),
        (Position(2, 2), [Reset("ab"), "end"]),
    ],
)
async def test_when_the_log_is_gone_the_row_tells_the_rest(
    chat: Chat, after: Position | None, told: list[Reset | str]
) -> None:
    asked = await finished(chat, "a", "b")
    chat.log.drop(asked.id)
    follower = await chat.service().attach(chat.user_id, asked.id, after)
    assert follower.finished == (not told)
    events = [] if follower.finished else await read_to_end(follower)
    assert [event.type if event.terminal else event for event in events] == told
    assert follower.position == Position(1, 3)
    assert await follower.next() == ()
    assert chat.observed.resets == ["row"] * told.count(Reset("ab"))
    assert chat.observed.resumes == (after is not None and bool(told))


@pytest.mark.parametrize(
    ("end", "told"),
    [(Position(1, 2), ["aborted"]), (Position(2, 1), [Reset("a"), "aborted"])],
    ids=["in its epoch", "in an epoch of its own"],
)
async def test_whom_the_log_tells_nothing_is_told_what_the_row_says(
    impatient: Chat, end: Position, told: list[Reset | str]
) -> None:
    asked = await impatient.service().ask(impatient.question())
    follower = await impatient.follow(asked)
    await say(impatient, follower, "a")
    other = await impatient.service().ask(impatient.question())
    unconcerned = await impatient.follow(other)
    assert [event.type for event in await events_of(unconcerned)] == ["start"]
    reads = [await waiting(reader) for reader in (follower, unconcerned)]
    for _ in range(3):
        await impatient.followers.look()
    assert not any(read.done() for read in reads)  # they live, and their readers wait on
    await impatient.store.finish(asked.id, 1, ending(end, "a"))
    await impatient.followers.look()
    events = await reads[0]
    assert [event.type if event.terminal else event for event in events] == told
    assert (follower.finished, follower.position) == (True, end)
    assert impatient.observed.resets == ["row"] * (len(told) - 1)
    assert not reads[1].done()
    unconcerned.leave()
    assert await reads[1] == []


async def test_whoever_is_not_silent_is_not_looked_at(chat: Chat) -> None:
    asked = await chat.service().ask(chat.question())
    follower = await chat.follow(asked)
    await say(chat, follower, "a")
    read = await waiting(follower)
    await chat.store.finish(asked.id, 1, ending(Position(1, 2), "a"))
    await chat.followers.look()
    assert not read.done()  # it has not waited for `silence_seconds`
    chat.followers._silence_seconds = 0
    await chat.followers.look()
    assert (await read)[-1].terminal


async def test_readers_of_what_was_purged_are_closed_without_an_end(impatient: Chat) -> None:
    asked = await impatient.service().ask(replace(impatient.question(), needs_reader=True))
    follower = await impatient.follow(asked)
    await say(impatient, follower, "a")
    read = await waiting(follower)
    async with impatient.database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM sessions")
    await impatient.followers.look()
    assert await read == []
    assert (follower.finished, len(impatient.followers)) == (False, 0)
    # The server closed it: nobody has left.
    assert impatient.followers.audiences._audiences[asked.id].gone_at is None


class Away:
    """A store that does not answer, as often as it is told not to."""

    def __init__(self, store: Store, fault: Exception, times: int) -> None:
        self._store = store
        self._fault = fault
        self.times = times

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def see_all(self, generation_ids: Collection[str]) -> Sequence[Seen]:
        if self.times:
            self.times -= 1
            raise self._fault
        return await self._store.see_all(generation_ids)


@pytest.mark.parametrize(
    "fault", [RunnelError(Code.STORE_UNAVAILABLE, "away"), ZeroDivisionError()], ids=repr
)
async def test_a_look_that_fails_is_made_up_for_by_the_next(chat: Chat, fault: Exception) -> None:
    asked = await chat.service().ask(chat.question())
    follower = await chat.follow(asked)
    await say(chat, follower, "a")
    read = await waiting(follower)
    await chat.store.finish(asked.id, 1, ending(Position(1, 2), "a"))
    away = Away(chat.store, fault, 2)
    chat.followers._store = cast("Store", away)  # it passes on what it does not know
    chat.followers._silence_seconds = 0.01
    watching = asyncio.create_task(chat.followers.watch())
    assert (await read)[-1].terminal
    assert (away.times, watching.done()) == (0, False)
    watching.cancel()


async def test_an_attach_that_fails_leaves_no_reader_behind(chat: Chat) -> None:
    asked = await finished(chat, "a")
    chat.log.drop(asked.id)
    async with chat.database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM sessions")
    with pytest.raises(RunnelError) as refused:
        await chat.service().follow(asked)  # purged between the ask and now
    assert refused.value.code is Code.NOT_FOUND
    assert (len(chat.followers), chat.log._waiting) == (0, {})
