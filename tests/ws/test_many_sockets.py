"""Many sockets that nobody speaks on: whoever chats beside them, and the server's end, do not feel it."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from holdings import held, settled
from provider import Answer
from runnel.chat.channels import Channel, Listener
from runnel.edge.dialects.session_channel import SessionDialect
from runnel.edge.dialects.sockets import Answer as Shown
from runnel.events import Event, Position
from serving import Signed
from sockets import Socket, opened, text_of
from standing import Standing, standing
from waiting import soon

SOCKETS: Final = int(os.environ.get("RUNNEL_SOCKETS") or 100)
AT_ONCE: Final = 20
TOKENS: Final = [f"{number:04} " for number in range(1000)]
#: Other processes make the processor's caches cold at their own times.
SLACK_OF_TIME: Final = 2.5
USERS: Final = 1000
DEVICES: Final = 20
PATHS: Final = ("/ws", "/ws/desk", "/ws/chat/completions")


@pytest.fixture
def stand(migrated: Path, tmp_path: Path) -> Iterator[Standing]:
    # What looks around by time is called by the test itself.
    quiet: dict[str, Any] = dict.fromkeys(
        ("checkpoint_seconds", "heartbeat_seconds", "revocation_check_seconds"), 3600
    )
    most = 2 * SOCKETS
    with standing(
        migrated,
        tmp_path,
        websocket_max_connections=most,
        websocket_max_connections_per_user=most,
        **quiet,
    ) as there:
        yield there


@asynccontextmanager
async def idle(stand: Standing, signed: Signed, number: int) -> AsyncGenerator[list[Socket]]:
    """So many sockets of a user, of all three kinds."""
    limit = asyncio.Semaphore(AT_ONCE)
    async with AsyncExitStack() as stack:

        async def come(place: int) -> Socket:
            async with limit:
                path = PATHS[place % len(PATHS)]
                opening = opened(stand.server, path, signed, ping_interval=None)
                return await stack.enter_async_context(opening)

        sockets = await asyncio.gather(*map(come, range(number)))
        channels = sum(PATHS[place % len(PATHS)] != PATHS[-1] for place in range(number))
        await soon(lambda: held(stand).channels >= channels)
        yield list(sockets)


async def seconds_of_chatting(stand: Standing, socket: Socket) -> float:
    """What one answer costs the server's thread."""

    async def thread_seconds() -> float:
        return time.thread_time()

    began = await asyncio.to_thread(stand.server.call, thread_seconds())
    await socket.send({"question": stand.prompt(Answer(TOKENS))})
    frames = await socket.answer()
    assert text_of(frames) == frames[-1]["full_text"] == "".join(TOKENS)
    return await asyncio.to_thread(stand.server.call, thread_seconds()) - began


@pytest.mark.timeout(180)  # a busy machine takes its time for so many
async def test_idle_sockets_cost_the_one_that_chats_nothing(stand: Standing) -> None:
    others = await asyncio.to_thread(stand.server.user, "others")
    async with opened(stand.server, "/ws/chat/completions", stand.user) as socket:
        await seconds_of_chatting(stand, socket)  # what is done once for all
        before = await asyncio.to_thread(held, stand)
        alone = min([await seconds_of_chatting(stand, socket) for _ in range(3)])
        async with idle(stand, others, SOCKETS) as sockets:
            among = min([await seconds_of_chatting(stand, socket) for _ in range(3)])
            for one in sockets:
                one.cut()
            # And none of them is left.
            await settled(stand, before, but_descriptors=True)
        assert among < alone * SLACK_OF_TIME
        await seconds_of_chatting(stand, socket)


@pytest.mark.timeout(180)
async def test_at_the_servers_end_all_are_told_to_come_back_and_an_answer_is_whole(
    stand: Standing,
) -> None:
    others = await asyncio.to_thread(stand.server.user, "others")
    chatting = opened(stand.server, "/ws/chat/completions", stand.user)
    async with chatting as socket, idle(stand, others, SOCKETS) as sockets:
        await socket.send({"question": stand.prompt(Answer(TOKENS, gate_after=500))})
        start = await socket.until("token")
        ending = asyncio.create_task(asyncio.to_thread(stand.server.call, drained(stand)))
        codes = await asyncio.gather(*(one.closed() for one in sockets))
        assert set(codes) == {1012}
        assert not ending.done()
        stand.provider.release()
        frames = [*start, *await socket.answer()]
        assert text_of(frames) == frames[-1]["full_text"] == "".join(TOKENS)
        assert await socket.closed() == 1012
        await ending
    await soon(lambda: held(stand).sockets == 0)
    now = await asyncio.to_thread(held, stand)
    assert (now.registered, now.channels, now.hearing, now.holdings, now.followers) == (0,) * 5


async def drained(stand: Standing) -> None:
    await stand.server.server.drain()


async def test_a_token_is_encoded_once_for_all_devices(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = Counter[str]()
    really = SessionDialect.event

    def count(self: SessionDialect, answer: Shown, event: Event, at: Position) -> Sequence[bytes]:
        encoded[str(at)] += 1
        return really(self, answer, event, at)

    monkeypatch.setattr(SessionDialect, "event", count)
    pieces = TOKENS[:50]
    async with AsyncExitStack() as stack:
        devices = [
            await stack.enter_async_context(opened(stand.server, "/ws/desk", stand.user))
            for _ in range(DEVICES)
        ]
        for device in devices:
            await device.until("connected")
        question = stand.prompt(Answer(pieces, delay=0.005, gate_after=1))
        await devices[0].send({"type": "message", "content": question})
        begun = await asyncio.gather(*(device.until("stream_chunk") for device in devices))
        encoded.clear()
        stand.provider.release()
        for before, frames in zip(
            begun, await asyncio.gather(*(device.answer() for device in devices)), strict=True
        ):
            assert text_of([*before, *frames]) == "".join(pieces)
    # Not one for each device. Who is far behind reads what is old, and encodes it for itself.
    assert encoded.total() < 2 * len(pieces)


@pytest.mark.parametrize("of_one_user", [False, True])
def test_a_look_costs_no_more_for_many_channels_than_for_as_many_few(
    stand: Standing, *, of_one_user: bool
) -> None:
    channels = stand.server.server.parts.channels

    async def costs(number: int) -> float:
        """Seconds of the loop's thread."""
        with ExitStack() as stack:
            joined = [
                await channels.user(
                    stack,
                    stand_in if of_one_user else f"{stand_in}-{place}",
                    Listener(str(place), lambda _: True, lambda _: None, lambda: None),
                )
                for place in range(number)
            ]
            assert all(isinstance(channel, Channel) for channel in joined)
            taken: list[float] = []
            for _ in range(5):
                began = time.thread_time()
                await channels.look()
                taken.append(time.thread_time() - began)
        return min(taken)

    stand_in = "nobody"
    stand.server.call(costs(10))
    few = stand.server.call(costs(USERS // 10))
    many = stand.server.call(costs(USERS), seconds=60)
    assert many < few * 10 * SLACK_OF_TIME
