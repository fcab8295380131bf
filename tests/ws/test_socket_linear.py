"""A token costs the same in a long answer as in a short one, also on a session's channel."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from provider import Answer
from sockets import Socket, is_end, opened, text_of
from standing import Json, Standing, standing

SHORT: Final = 1000
LONG: Final = 32_000
TIMES: Final = LONG // SHORT
REPLAYED: Final = 10_000
#: At least so many a replay has: in truth it is some fifty.
TURNS: Final = 4
#: For the digits of positions: two more.
SLACK: Final = 1.1
#: Other processes make the processor's caches cold at their own times: only what grows with the
#: length itself can be told, which would cost tens of times as much.
SLACK_OF_TIME: Final = 2.5


@dataclass
class Cost:
    """What one answer cost: seconds of the server's thread, and characters of frames."""

    seconds: float = 0
    wire: dict[str, int] = field(default_factory=dict[str, int])


def tokens(number: int) -> list[str]:
    """All of one length."""
    return [f"{token:05} " for token in range(number)]


async def thread_seconds(stand: Standing) -> float:
    async def seconds() -> float:
        return time.thread_time()

    return await asyncio.to_thread(stand.server.call, seconds())


async def read(socket: Socket) -> tuple[list[Json], int]:
    """All frames to the end of an answer, and how long they are together."""
    frames: list[Json] = []
    size = 0
    while not (frames and is_end(frames[-1])):
        async with asyncio.timeout(60):
            text = await socket.connection.recv()
        frames.append(json.loads(text))
        size += len(text)
    return frames, size


async def cost_of(stand: Standing, number: int) -> Cost:
    """Of an answer with so many tokens, which two devices see, and one sees again."""
    cost = Cost()
    text = "".join(tokens(number))
    path = f"/ws/of-{number}-{time.monotonic_ns()}"
    async with (
        opened(stand.server, path, stand.user) as asking,
        opened(stand.server, path, stand.user) as other,
    ):
        for device in (asking, other):
            await device.until("connected")
        began = await thread_seconds(stand)
        await asking.send({"type": "message", "content": stand.prompt(Answer(tokens(number)))})
        told: dict[str, tuple[list[Json], int]] = {}
        told["asking"], told["other"] = await asyncio.gather(read(asking), read(other))
        cost.seconds = await thread_seconds(stand) - began
        generation_id = next(
            frame["generation_id"] for frame in told["asking"][0] if "generation_id" in frame
        )
        resume = {"type": "resume", "generation_id": generation_id}
        await other.send(resume)
        told["resumed"] = await read(other)
        await other.send(resume | {"after": f"1-{number // 2}"})
        told["resumed in the middle"] = await read(other)
    for way, (frames, size) in told.items():
        begun_at = number // 2 * len(tokens(1)[0]) if "middle" in way else 0
        assert text_of(frames) == text[begun_at:]
        assert "reset" not in {frame["type"] for frame in frames}
        cost.wire[way] = size
    return cost


@pytest.mark.timeout(180)  # a busy machine takes its time for so many
async def test_a_long_answer_costs_a_channel_no_more_than_as_many_short_ones(
    migrated: Path, tmp_path: Path
) -> None:
    quiet: dict[str, Any] = dict.fromkeys(
        ("checkpoint_seconds", "heartbeat_seconds", "revocation_check_seconds"), 3600
    )
    with standing(migrated, tmp_path, **quiet) as stand:
        await cost_of(stand, SHORT)  # what is done once for all is not counted
        shorts = [await cost_of(stand, SHORT) for _ in range(4)]
        long = await cost_of(stand, LONG)
    for short in shorts:
        for way, size in long.wire.items():
            assert size <= short.wire[way] * TIMES * SLACK, way
    seconds_of_short = sum(short.seconds for short in shorts) / len(shorts)
    assert long.seconds <= seconds_of_short * TIMES * SLACK_OF_TIME


async def longest_turn(stand: Standing, ended: asyncio.Event) -> tuple[float, float]:
    """How long the server's thread works before it comes to others at most, and in all."""

    async def watch() -> tuple[float, float]:
        began = last = time.thread_time()
        longest = 0.0
        while not ended.is_set():
            await asyncio.sleep(0)
            now = time.thread_time()
            longest, last = max(longest, now - last), now
        return longest, last - began

    return await asyncio.to_thread(stand.server.call, watch())


async def test_a_replay_lets_others_have_their_turn(migrated: Path, tmp_path: Path) -> None:
    with standing(migrated, tmp_path) as stand:
        async with opened(stand.server, "/ws/long", stand.user) as socket:
            await socket.until("connected")
            prompt = stand.prompt(Answer(tokens(REPLAYED)))
            await socket.send({"type": "message", "content": prompt})
            frames, _ = await read(socket)
            ended = asyncio.Event()
            watching = asyncio.create_task(longest_turn(stand, ended))
            generation_id = frames[0]["generation_id"]
            await socket.send({"type": "resume", "generation_id": generation_id})
            again, _ = await read(socket)
            ended.set()
            longest, whole = await watching
    assert again == frames
    assert longest * TURNS < whole
