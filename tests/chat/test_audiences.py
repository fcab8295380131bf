"""Since when nobody follows an answer: readers, those who poll, and those whom the server closes."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import pytest

from answers import Chat
from runnel.chat.audiences import POLL_LINGER_SECONDS, Audiences
from runnel.chat.choosing import Choose
from runnel.chat.entities import Ask, AskKey
from runnel.chat.following import Follower
from runnel.chat.ports import Begun, Joined, Store

GRACE = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def audiences(clock: Clock) -> Audiences:
    audiences = Audiences(grace_seconds=GRACE, clock=clock)
    audiences.expect("a")
    return audiences


def deserted_after(audiences: Audiences, clock: Clock, seconds: float) -> bool:
    """Whether the answer is deserted so many seconds from now, and was not just before."""
    clock.now += seconds - 0.01
    before = audiences.deserted()
    clock.now += 0.01
    return before == [] and audiences.deserted() == ["a"]


def test_whoever_never_comes_has_the_grace_from_the_ask(audiences: Audiences, clock: Clock) -> None:
    assert deserted_after(audiences, clock, GRACE)


def test_while_one_reads_it_is_not_deserted(audiences: Audiences, clock: Clock) -> None:
    audiences.enter("a")
    audiences.enter("a")
    audiences.leave("a")
    clock.now += 1e6
    assert audiences.deserted() == []
    audiences.leave("a")
    assert deserted_after(audiences, clock, GRACE)


def test_whoever_comes_back_in_time_has_the_whole_grace_again(
    audiences: Audiences, clock: Clock
) -> None:
    for _ in range(3):
        audiences.enter("a")
        audiences.leave("a")
        clock.now += GRACE - 0.1
        assert audiences.deserted() == []
    audiences.enter("a")
    clock.now += 1e6
    assert audiences.deserted() == []
    audiences.leave("a")
    assert deserted_after(audiences, clock, GRACE)


def test_even_after_the_grace_a_reader_that_came_before_the_look_keeps_it(
    audiences: Audiences, clock: Clock
) -> None:
    clock.now += 2 * GRACE
    audiences.enter("a")
    assert audiences.deserted() == []


def test_who_polls_is_there_between_the_polls(audiences: Audiences, clock: Clock) -> None:
    assert POLL_LINGER_SECONDS == 35
    for _ in range(3):
        audiences.enter("a")
        clock.now += 30  # the poll's `wait`
        audiences.leave("a", linger_seconds=35)
        clock.now += 34.9
        assert audiences.deserted() == []
    audiences.enter("a")
    audiences.leave("a", linger_seconds=35)
    assert deserted_after(audiences, clock, 35 + GRACE)


def test_who_polls_is_there_still_when_another_reader_came_and_went(
    audiences: Audiences, clock: Clock
) -> None:
    audiences.enter("a")
    audiences.leave("a", linger_seconds=35)
    clock.now += 1
    audiences.enter("a")  # a stream, as of a second tab
    audiences.leave("a")
    assert deserted_after(audiences, clock, 34 + GRACE)


def test_who_polls_beside_a_reader_is_there_still_when_that_one_leaves(
    audiences: Audiences, clock: Clock
) -> None:
    audiences.enter("a")  # a stream
    audiences.enter("a")
    audiences.leave("a", linger_seconds=35)
    clock.now += 1
    audiences.leave("a")
    assert deserted_after(audiences, clock, 34 + GRACE)


def test_a_reader_that_leaves_long_after_the_last_poll_leaves_only_the_grace(
    audiences: Audiences, clock: Clock
) -> None:
    audiences.enter("a")
    audiences.enter("a")
    audiences.leave("a", linger_seconds=35)
    clock.now += 1000
    audiences.leave("a")
    assert deserted_after(audiences, clock, GRACE)


def test_whom_the_server_sent_away_may_take_any_time_to_come_back(
    audiences: Audiences, clock: Clock
) -> None:
    audiences.enter("a")
    audiences.dismiss("a")
    clock.now += 1e6
    assert audiences.deserted() == []
    audiences.enter("a")
    clock.now += 1e6
    audiences.leave("a")
    assert deserted_after(audiences, clock, GRACE)


@pytest.mark.parametrize("dismissed_first", [True, False])
def test_of_two_readers_the_one_who_left_does_not_speak_for_the_one_sent_away(
    audiences: Audiences, clock: Clock, *, dismissed_first: bool
) -> None:
    audiences.enter("a")
    audiences.enter("a")
    if dismissed_first:
        audiences.dismiss("a")
        audiences.leave("a")
        # Nobody reads, and the last who did went by itself.
        assert deserted_after(audiences, clock, GRACE)
    else:
        audiences.leave("a")
        audiences.dismiss("a")
        clock.now += 1e6
        assert audiences.deserted() == []


@pytest.mark.parametrize("leaves", ["before", "after"])
def test_who_came_before_it_was_known_that_one_is_needed_counts_as_well(
    clock: Clock, leaves: str
) -> None:
    audiences = Audiences(grace_seconds=GRACE, clock=clock)
    audiences.enter("a")  # a question sent twice at once: its second asker was faster
    if leaves == "before":
        audiences.leave("a")
    audiences.expect("a")
    audiences.enter("a")
    if leaves == "after":
        audiences.leave("a")
    clock.now += 1e6
    assert audiences.deserted() == []  # the first asker is there
    audiences.leave("a")
    assert deserted_after(audiences, clock, GRACE)


def test_answers_that_need_no_reader_and_those_that_ended_are_not_deserted(clock: Clock) -> None:
    audiences = Audiences(grace_seconds=GRACE, clock=clock)
    for ends in (True, False):
        audiences.enter("a")
        if ends:
            audiences.expect("a")
            audiences.enter("a")
            audiences.forget("a")
            audiences.dismiss("a")
        audiences.leave("a", linger_seconds=35)
        clock.now += 1e6
        assert audiences.deserted() == []
        assert audiences._audiences == {}


def test_each_answer_has_an_audience_of_its_own(audiences: Audiences, clock: Clock) -> None:
    audiences.expect("b")
    audiences.enter("b")
    assert deserted_after(audiences, clock, GRACE)
    audiences.forget("a")
    clock.now += 1e6
    assert audiences.deserted() == []
    assert list(audiences._audiences) == ["b"]


class Interposing:
    """A store after whose commit of a question something else comes first."""

    def __init__(self, store: Store, first: Callable[[Ask], Awaitable[None]]) -> None:
        self._store = store
        self._first = first

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def begin_ask(self, ask: Ask, choose: Choose, owner: str) -> Begun | Joined:
        begun = await self._store.begin_ask(ask, choose, owner)
        await self._first(ask)
        return begun


async def test_a_re_send_that_overtakes_the_question_does_not_take_its_reader_away(
    chat: Chat, clock: Clock
) -> None:
    async def ask_again(ask: Ask) -> None:
        re_sent.append(await service.follow(await service.ask(ask)))

    audiences = chat.followers.audiences
    audiences._clock = clock
    re_sent = list[Follower]()  # filled while the question is still being written down
    real = chat.store
    chat.store = cast("Store", Interposing(real, ask_again))  # it passes on what it does not know
    service = chat.service()
    question = replace(chat.question(), key=AskKey("k"), needs_reader=True)
    asked = await service.ask(question)
    reader = await service.follow(asked)
    assert [follower.generation_id for follower in re_sent] == [asked.id]
    re_sent[0].leave()
    clock.now += 1e6
    assert audiences.deserted() == []
    reader.leave()
    clock.now += 1e6
    assert audiences.deserted() == [asked.id]
