"""Many come, ask, read a little and vanish: nothing of them stays, and no answer suffers."""

import asyncio
import gc
import os
import random
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
from websockets.exceptions import ConnectionClosed

from cuts import SEED, say
from holdings import held, memory, settled
from provider import Answer
from sockets import Socket, opened, text_of
from standing import Json, Standing, standing
from waiting import soon, until

VISITS: Final = int(os.environ.get("RUNNEL_VISITS") or 200)
WARM_UP: Final = 100
ROUNDS: Final = 3
BATCH: Final = 50
AT_ONCE: Final = 10
PIECES: Final = [f"{number:04} " for number in range(400)]
THERE: Final = 200
SHARED: Final = "/ws/shared"
PATHS: Final = ("/ws/chat/completions", "/ws/me", SHARED, "/ws/own-{}")
#: What a visit may leave on the average, of the interpreter's blocks and in bytes. A forgotten
#: connection is thousands of blocks, a forgotten delivery a dozen. It is not nothing because a loop
#: forgets cancelled timers a hundred at a time, and caches breathe: SQLite's, a few megabytes for
#: each of its connections, fill as the database grows.
TOLERATED_BLOCKS: Final = 6 * VISITS + 600
TOLERATED_BYTES: Final = 16_384 * VISITS + 32 * 1024 * 1024


def question(path: str, prompt: str) -> Json:
    match path:
        case "/ws/chat/completions":
            return {"question": prompt}
        case "/ws/me":
            return {"action": "send_message", "content": prompt}
        case _:
            return {"type": "message", "content": prompt}


async def come_and_vanish(choice: random.Random, stand: Standing, generation_id: str) -> None:
    """Asks or resumes, reads some frames, or none, and leaves, with a word or without."""
    path = choice.choice(PATHS).format(choice.getrandbits(64))
    async with opened(stand.server, path, stand.user, ping_interval=None) as socket:
        if path == SHARED:
            after = choice.choice(["1-0", "1-150", f"1-{THERE}", "1-9999", "7-7"])
            resume = {"type": "resume", "generation_id": generation_id, "after": after}
            await socket.send(resume)
        elif choice.random() < 0.8:
            await socket.send(question(path, choice.choice(("short", "short", "held"))))
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(choice.choice((0, 0.005, 0.02))):
                for _ in range(choice.choice((1, 5, 100))):
                    await socket.next()
        if choice.random() < 0.5:
            socket.cut()


async def visit(stand: Standing, choice: random.Random, generation_id: str, times: int) -> None:
    """In batches: who asks and vanishes is faster than a server can find out."""

    async def some(number: int) -> None:
        for _ in range(number):
            await come_and_vanish(choice, stand, generation_id)

    before = await asyncio.to_thread(held, stand)
    for _ in range(times // BATCH):
        await asyncio.gather(*(some(BATCH // AT_ONCE) for _ in range(AT_ONCE)))
        await asyncio.to_thread(abort_all_but, stand, generation_id)
        await settled(stand, before, but_descriptors=True)
        gc.collect()


def abort_all_but(stand: Standing, generation_id: str) -> None:
    """Also those that were only about to begin when whoever asked was gone."""

    def none_left() -> bool:
        for (left,) in stand.left_live():
            if left != generation_id:
                # A connection that is kept would be counted.
                leaving = {"Connection": "close"}
                path = f"/api/generations/{left}/abort"
                response = stand.client.post(path, headers=leaving)
                assert response.status_code == 200, response.text
        return stand.held()["producers"] == 1

    until(none_left)


def answers(ask: Json) -> Answer:
    match ask["messages"][-1]["content"]:
        case "short":
            return Answer(["yes"])
        case _:
            return Answer(PIECES, gate_after=THERE)


@pytest.mark.timeout(300)  # a busy machine takes its time for so many
async def test_visits_leave_nothing_behind(
    migrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    choice = random.Random(SEED)
    settings = {
        "disconnect_grace_seconds": 0.1,
        "idle_timeout_seconds": 600,
        # Those who have gone count until that is found out.
        "websocket_max_connections_per_user": 100,
    }
    with standing(migrated, tmp_path, **settings) as stand:
        stand.provider.answer("test", answers)
        stand.provider.hold()
        before_all = replace(await asyncio.to_thread(held, stand), connections=0)
        async with (
            opened(stand.server, SHARED, stand.user) as asking,
            opened(stand.server, SHARED, stand.user) as staying,
        ):
            for device in (asking, staying):
                await device.until("connected")
            await asking.send({"type": "message", "content": "held"})
            frames = await shown(staying, PIECES[THERE - 1])
            await soon(lambda: stand.followers == 2)
            [[generation_id]] = stand.left_live()
            await visit(stand, choice, generation_id, WARM_UP)
            # What else goes on in this process is counted too, but it does not come back each time.
            for _ in range(ROUNDS):
                blocks, resident = await asyncio.to_thread(memory, stand)
                await visit(stand, choice, generation_id, VISITS)
                blocks_after, resident_after = await asyncio.to_thread(memory, stand)
                blocks_left, bytes_left = blocks_after - blocks, resident_after - resident
                say(
                    f"{VISITS} visits, each left {blocks_left / VISITS:.1f} blocks and"
                    f" {bytes_left / VISITS:.0f} bytes",
                    capsys,
                )
                if blocks_left < TOLERATED_BLOCKS and bytes_left < TOLERATED_BYTES:
                    break
            else:
                pytest.fail("every round of visits left something behind")
            stand.provider.release()
            frames += await staying.until("stream_end")
            assert text_of(frames) == "".join(PIECES)
            assert text_of(await asking.until("stream_end")) == "".join(PIECES)
        stand.client.close()
        await settled(stand, before_all, but_descriptors=True)
        assert stand.held() == dict.fromkeys(stand.held(), 0)


async def shown(socket: Socket, piece: str) -> list[Json]:
    """All frames up to that piece."""
    frames = [await socket.next()]
    while frames[-1].get("content") != piece:
        frames.append(await socket.next())
    return frames
