"""Channels over a real store and bus: who comes in the middle, or has no room, misses nothing."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from answers import Chat
from channel_house import HOUR, Device, House


@pytest.fixture
async def house(chat: Chat) -> AsyncIterator[House]:
    house = House(chat)
    with house.stack:
        yield house
    assert not house.channels._channels
    assert not chat.bus._hearing


async def test_who_comes_during_a_look_is_not_told_of_what_had_ended(house: House) -> None:
    await house.end(await house.ask("old"))
    session, user = Device(), Device()
    for device, join in ((session, house.session), (user, house.user)):
        goes_on = house.store.hold()
        joining = asyncio.ensure_future(join(device))
        await house.store.holding.wait()
        await house.channels.look()
        goes_on.set()
        await joining
        await house.channels.look()
        assert device.questions == []


async def test_what_is_asked_while_one_comes_in_is_told_it(house: House) -> None:
    session, user = Device(), Device()
    for device, join in ((session, house.session), (user, house.user)):
        goes_on = house.store.hold()
        joining = asyncio.ensure_future(join(device))
        await house.store.holding.wait()
        await house.end(await house.tell("told"))
        await house.end(await house.ask("lost"))
        goes_on.set()
        await joining
        await house.channels.look()
        assert device.questions == ["told", "lost"]


async def test_a_session_in_mid_answer_is_told_at_the_look(house: House) -> None:
    running = await house.ask("running")
    device = Device()
    _, state = await house.session(device)
    assert state.running is not None
    assert state.running.generation_id == running.id
    assert state.last_message_id == running.message_id
    assert device.questions == []
    await house.channels.look()
    await house.channels.look()
    assert device.questions == ["running"]


async def test_or_before_anything_newer(house: House) -> None:
    running = await house.ask("running")
    device = Device()
    await house.session(device)
    await house.end(running)
    await house.tell("newer")
    await house.channels.look()
    assert device.questions == ["running", "newer"]


async def test_or_not_at_all_if_it_is_resumed(house: House) -> None:
    running = await house.ask("running")
    device = Device()
    channel, _ = await house.session(device)
    channel.knows(running.id, running.created_at)
    await house.channels.look()
    await house.end(running)
    await house.tell("newer")
    await house.channels.look()
    assert device.questions == ["newer"]


async def test_a_user_in_mid_answer_is_told_at_once(house: House) -> None:
    await house.ask("one", "a")
    await house.ask("two", "b")
    device = Device()
    await house.user(device)
    assert device.questions == ["one", "two"]
    await house.channels.look()
    assert device.questions == ["one", "two"]


async def test_what_a_device_had_no_room_for_is_told_again_in_order(house: House) -> None:
    device = Device()
    await house.session(device)
    device.room = 2
    for number in range(4):
        await house.end(await house.tell(f"{number}"))
    assert device.questions == ["0", "1"]
    await house.channels.look()
    assert device.questions == ["0", "1"]
    # There is room again, and something new: it comes behind what waits.
    device.room = 4
    await house.end(await house.tell("4"))
    assert device.questions == ["0", "1"]
    await house.channels.look()
    assert device.questions == ["0", "1", "2", "3"]
    device.room = 100
    await house.end(await house.tell("5"))
    await house.channels.look()
    assert device.questions == ["0", "1", "2", "3", "4", "5"]
    await house.tell("6")
    assert device.questions[-1] == "6", "from now on at once again"


async def test_what_waits_is_told_however_long_it_waits(house: House) -> None:
    device = Device()
    channel = await house.user(device)
    device.room = 0
    for number in range(3):
        await house.end(await house.tell(f"{number}"))
    house.later = HOUR
    for _ in range(3):
        await house.channels.look()
    device.room = 100
    await house.channels.look()
    assert device.questions == ["0", "1", "2"]
    assert not channel.waiting


async def test_what_waits_and_is_gone_holds_nothing_up(house: House) -> None:
    device = Device()
    channel = await house.user(device)
    device.room = 0
    generation = await house.tell("gone")
    async with house.chat.database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM generations")
    assert [each.generation_id for each in channel.waiting] == [generation.id]
    device.room = 100
    await house.channels.look()
    assert not channel.waiting
    await house.tell("next", "other")
    assert device.questions == ["next"]


async def test_what_one_asks_itself_while_others_wait_is_not_told_again(house: House) -> None:
    device = Device("one")
    channel = await house.user(device)
    device.room = 0
    await house.end(await house.tell("waits"))
    own = await house.tell("own", origin="one")
    channel.knows(own.id, own.created_at)
    device.room = 100
    await house.channels.look()
    assert device.questions == ["waits"]


async def test_more_questions_than_one_query_reads_are_told(house: House) -> None:
    device = Device()
    device.room = 550
    await house.user(device)
    for number in range(600):
        await house.ask(f"{number}", f"s{number}")
    await house.channels.look()
    await house.tell("600")
    device.room = 2000
    await house.channels.look()
    assert device.questions == [f"{number}" for number in range(601)]


async def test_what_waits_and_is_resumed_holds_nothing_up(house: House) -> None:
    device = Device()
    channel = await house.user(device)
    device.room = 0
    generation = await house.tell("resumed")
    device.room = 100
    channel.knows(generation.id, generation.created_at)
    await house.tell("next", "other")
    assert device.questions == ["next"]
    await house.channels.look()
    assert device.questions == ["next"]


async def test_what_was_running_comes_before_what_is_asked_while_one_comes_in(
    house: House,
) -> None:
    session, user = Device(), Device()
    for device, join in ((session, house.session), (user, house.user)):
        running = await house.ask("running")
        goes_on = house.store.hold()
        joining = asyncio.ensure_future(join(device))
        await house.store.holding.wait()
        await house.end(running)
        newer = await house.tell("newer")
        goes_on.set()
        await joining
        await house.channels.look()
        assert device.questions == ["running", "newer"]
        await house.end(newer)
