"""Channels over a real store and bus: each question just once, in order, whatever is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest

from answers import Chat
from channel_house import HOUR, Device, House, admitted
from runnel.accounts.passwords import random_password
from runnel.chat.entities import Ask, SessionRef
from runnel.chat.notices import Asked, Typing
from runnel.errors import Code, RunnelError
from runnel.store.accounts import SqlAccountStore
from runnel.store.ids import now
from wire import NOBODYS_ID


@pytest.fixture
async def house(chat: Chat) -> AsyncIterator[House]:
    house = House(chat)
    with house.stack:
        yield house
    assert not house.channels._channels
    assert not chat.bus._hearing


async def test_each_question_is_told_just_once(house: House) -> None:
    session, user = Device(), Device()
    await house.session(session)
    await house.user(user)
    for number in range(3):
        generation = await house.tell(f"{number}")
        house.publish(generation, house.chat.question(f"{number}"))
        await house.channels.look()
        await house.end(generation)
        await house.channels.look()
    for device in (session, user):
        assert device.questions == ["0", "1", "2"]
        assert [asked.asked_at for asked in device.asked] == sorted(
            asked.asked_at for asked in device.asked
        )


async def test_what_the_bus_lost_is_told_at_the_look_in_its_order(house: House) -> None:
    device, user = Device(), Device()
    await house.session(device)
    await house.user(user)
    for number in range(5):
        await house.end(await house.ask(f"{number}", key=None))
    live = await house.ask("live")
    await house.channels.look()
    for told in (device, user):
        assert told.questions == ["0", "1", "2", "3", "4", "live"]
    await house.end(live)
    await house.channels.look()
    assert len(device.asked) == 6
    [asked] = device.asked[-1:]
    assert asked == Asked.of(live, house.chat.question("live", "s"))


async def test_whoever_asks_is_not_told_of_it(house: House) -> None:
    one, two = Device("one"), Device("two")
    await house.session(one)
    await house.session(two)
    generation = await house.tell("mine", origin="one")
    await house.channels.look()
    await house.end(generation)
    await house.channels.look()
    assert (one.questions, two.questions) == ([], ["mine"])


async def test_only_those_of_the_session_and_of_the_user_are_told(house: House) -> None:
    here, elsewhere, user = Device(), Device(), Device()
    await house.session(here)
    await house.session(elsewhere, "other")
    await house.user(user)
    other = await SqlAccountStore(house.chat.database).add_user(
        "bob", random_password(), "user", now()
    )
    assert other is not None
    foreign = Device()
    await house.channels.user(house.stack, other.id, foreign.listener)
    await house.tell("here")
    await house.ask("lost", "other")
    await house.channels.look()
    house.channels.typing(Typing(house.chat.user_id, here.asked[0].session_id, "x", active=True))
    assert here.questions == ["here"]
    assert elsewhere.questions == ["lost"]
    assert user.questions == ["here", "lost"]
    assert foreign.questions == []
    assert [len(device.typing) for device in (here, elsewhere, foreign)] == [1, 0, 0]


async def test_what_had_ended_before_is_no_news(house: House) -> None:
    await house.end(await house.tell("old"))
    session, user = Device(), Device()
    _, state = await house.session(session)
    assert state.running is None
    await house.user(user)
    await house.channels.look()
    assert session.questions == user.questions == []


async def test_what_goes_through_v1_is_told_to_nobody(house: House) -> None:
    device = Device()
    await house.user(device)
    chat = house.chat
    ask = Ask(user_id=chat.user_id, text="hidden", stateless=True)
    service = chat.service()
    generation = await service.ask(ask)
    await house.channels.look()
    chat.model.finish()
    await chat.running.drain(5)
    await house.channels.look()
    assert device.questions == []
    late = Device()
    await house.user(late)
    with pytest.raises(RunnelError):
        await house.channels.session(
            house.stack,
            chat.user_id,
            SessionRef(id=generation.session_id),
            late.listener,
            admit_new=admitted,
        )
    assert late.questions == []


async def test_what_no_look_will_find_is_forgotten(house: House) -> None:
    device = Device()
    channel = await house.user(device)
    live = await house.tell("live", "a")
    for number in range(20):
        await house.end(await house.tell(f"{number}", "b"))
    await house.channels.look()
    assert len(channel._known) == 21
    house.later = HOUR
    await house.channels.look()  # from now on nothing so old is looked for
    await house.channels.look()
    assert set(channel._known) == {live.id}
    await house.end(live)
    await house.channels.look()
    assert not channel._known
    assert len(device.asked) == 21


async def test_a_look_that_fails_is_made_up_for(house: House) -> None:
    device = Device()
    await house.user(device)
    await house.channels.look()
    await house.end(await house.ask("lost"))
    house.store.away = True
    house.later = HOUR
    for _ in range(2):
        with pytest.raises(RunnelError):
            await house.channels.look()
    house.store.away = False
    await house.channels.look()
    assert device.questions == ["lost"]


async def test_the_looks_go_on_whatever_happens(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    device, told = Device(), asyncio.Event()
    channels = house.of(house.store, heartbeat_seconds=0.001)
    with ExitStack() as stack:
        await channels.user(stack, house.chat.user_id, device.listener)
        await house.ask("lost")
        failures = iter([RunnelError(Code.STORE_UNAVAILABLE, "away"), ValueError("a fault")])
        look = channels.look

        async def fail_first() -> None:
            for error in failures:
                raise error
            await look()
            told.set()

        monkeypatch.setattr(channels, "look", fail_first)
        watching = asyncio.create_task(channels.watch())
        await told.wait()
        watching.cancel()
    assert device.questions == ["lost"]


async def test_who_has_left_is_told_nothing(house: House) -> None:
    gone, here = Device(), Device()
    with ExitStack() as stack:
        await house.session(gone, stack=stack)
        await house.user(gone, stack=stack)
        await house.user(here)
    await house.tell("told")
    await house.ask("lost", "other")
    await house.channels.look()
    assert gone.questions == []
    assert here.questions == ["told", "lost"]


async def test_who_cannot_come_in_leaves_nothing_behind(house: House) -> None:
    for ref in (SessionRef(id=NOBODYS_ID),):
        with ExitStack() as stack, pytest.raises(RunnelError) as refused:
            await house.channels.session(
                stack, house.chat.user_id, ref, Device().listener, admit_new=admitted
            )
        assert refused.value.code is Code.NOT_FOUND
    house.store.away = True
    with ExitStack() as stack, pytest.raises(RunnelError):
        await house.user(Device(), stack)
    house.store.away = False
    assert not house.channels._channels
    assert not house.chat.bus._hearing


async def test_hundreds_of_users_are_looked_after(house: House) -> None:
    accounts = SqlAccountStore(house.chat.database)
    devices: dict[str, Device] = {}
    for number in range(510):
        user = await accounts.add_user(f"user{number}", "no hash", "user", now())
        assert user is not None
        devices[user.id] = Device()
        await house.channels.user(house.stack, user.id, devices[user.id].listener)
        await house.ask(f"of {user.id}", user_id=user.id)
    await house.channels.look()
    await house.channels.look()
    for user_id, device in devices.items():
        assert device.questions == [f"of {user_id}"]
