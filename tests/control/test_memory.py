"""The control of one process: who hears of what, who is connected, which tickets are spent."""

from datetime import UTC, datetime

import pytest

from runnel.accounts.connections import Connected
from runnel.chat.notices import Notice, Typing
from runnel.control.memory import MemoryBus, MemoryConnections, MemorySpent

MOST = 3


def typing(user_id: str) -> Typing:
    return Typing(user_id, "a session", "a connection", active=True)


def connected(number: int, user_id: str = "ana") -> Connected:
    return Connected(
        id=f"{number:04}",
        user_id=user_id,
        username=user_id,
        channel="user",
        session_id=None,
        address=None,
        user_agent=None,
        connected_at=datetime.now(UTC),
    )


class TestBus:
    def test_all_who_hear_of_a_user_are_told_and_nobody_else(self) -> None:
        bus = MemoryBus()
        first, second, other = list[Notice](), list[Notice](), list[Notice]()
        with bus.hearing("ana", first.append), bus.hearing("bea", other.append):
            with bus.hearing("ana", second.append):
                bus.publish(typing("ana"))
            bus.publish(typing("ana"))
            bus.publish(typing("carl"))
        bus.publish(typing("ana"))
        assert first == [typing("ana")] * 2
        assert second == [typing("ana")]
        assert other == []
        assert not bus._hearing

    def test_who_hears_twice_is_told_twice_and_leaves_once(self) -> None:
        bus, heard = MemoryBus(), list[Notice]()
        with bus.hearing("ana", heard.append):
            with bus.hearing("ana", heard.append):
                bus.publish(typing("ana"))
            bus.publish(typing("ana"))
        assert len(heard) == 3

    def test_who_is_told_may_leave_or_begin_to_hear_meanwhile(self) -> None:
        bus, heard = MemoryBus(), list[Notice]()
        inner = bus.hearing("ana", heard.append)
        outer = bus.hearing("ana", lambda _: inner.__enter__())
        with outer:
            bus.publish(typing("ana"))
        assert heard == []  # what is being told is not for whoever comes while it is

        def leave(_: Notice) -> None:
            inner.__exit__(None, None, None)

        with bus.hearing("ana", leave):
            bus.publish(typing("ana"))
        assert len(heard) == 1
        assert not bus._hearing

    def test_a_notice_that_fails_leaves_the_place_in_order(self) -> None:
        bus = MemoryBus()
        with pytest.raises(ZeroDivisionError), bus.hearing("ana", lambda _: None):
            raise ZeroDivisionError
        assert not bus._hearing


class TestConnections:
    async def test_a_user_has_so_many_places_and_gets_them_back(self) -> None:
        register = MemoryConnections()
        for number in range(MOST):
            assert await register.enter(connected(number), most_of_user=MOST)
        assert not await register.enter(connected(MOST), most_of_user=MOST)
        assert await register.enter(connected(10, "bea"), most_of_user=MOST)
        await register.leave(connected(MOST).id)  # never was in
        assert not await register.enter(connected(MOST), most_of_user=MOST)
        await register.leave(connected(1).id)
        await register.leave(connected(1).id)  # once is enough
        assert await register.enter(connected(MOST), most_of_user=MOST)
        assert not await register.enter(connected(MOST + 1), most_of_user=MOST)

    async def test_pages_are_in_the_order_of_ids_without_gap_or_repeat(self) -> None:
        register = MemoryConnections()
        assert await register.page(None, 10) == []
        for number in (5, 1, 4, 2, 3):
            await register.enter(connected(number), most_of_user=MOST * 9)
        seen: list[str] = []
        while page := await register.page(seen[-1] if seen else None, 2):
            seen += [each.id for each in page]
            await register.leave("0001")  # whoever leaves moves nobody
        assert seen == ["0001", "0002", "0003", "0004", "0005"]
        assert await register.page("0005", 10) == []
        assert await register.page("no id", 10) == []

    async def test_nothing_is_kept_of_those_who_left(self) -> None:
        register = MemoryConnections()
        for number in range(100):
            await register.enter(connected(number, f"user {number}"), most_of_user=1)
        for number in range(100):
            await register.leave(connected(number).id)
        assert (register._connected, register._of_user) == ({}, {})


class TestSpent:
    async def test_a_ticket_is_spent_once_and_forgotten_later(self) -> None:
        now = 0.0
        spent = MemorySpent(lambda: now)
        assert await spent.spend("a", 0, 30)
        now = 10.0
        assert await spent.spend("b", 0, 30)
        assert not await spent.spend("a", 0, 30)
        now = 29.9
        assert not await spent.spend("a", 0, 30)  # to try again prolongs nothing
        now = 30.0
        assert await spent.spend("a", 0, 30)
        assert not await spent.spend("b", 0, 30)
        now = 100.0
        assert await spent.spend("c", 0, 30)
        assert list(spent._until) == ["c"]

    async def test_what_was_issued_before_it_was_made_counts_as_spent(self) -> None:
        spent = MemorySpent(lambda: 1000.5)
        assert not await spent.spend("before", 999, 30)
        assert await spent.spend("since", 1000, 30)
