# pyright: reportPrivateUsage=false
"""Resumed on a session's channel: from wherever the client says, once, beside whatever is live."""

from typing import Any, cast

import pytest

from provider import Answer
from rooms import (
    HALF,
    joined,
    message,
    room,
    slow_device,
    stalled,
)
from sockets import kinds, text_of
from standing import Json, Standing
from waiting import soon

pytestmark = pytest.mark.usefixtures("tidy")


async def test_a_resume_goes_on_from_wherever_it_says(stand: Standing) -> None:
    async with joined(stand, "resumes") as (socket, _):
        with stand.gate_closed():
            await socket.send(message(stand.prompt(HALF)))
            start, first = await socket.take(2)
            generation_id = start["generation_id"]
            async with joined(stand, "resumes") as (late, _):
                resume = {"type": "resume", "generation_id": generation_id}
                await late.send(resume)
                assert await late.take(2) == [start, first]
                # Once more; then from the position of what it has.
                await late.send(resume)
                assert await late.take(2) == [start, first]
                await late.send(resume | {"after": "1-1"})
                assert await late.told() == []
                stand.provider.release()
                second, end = await late.answer()
                assert (second["content"], second["position"]) == (" second", "1-2")
                assert await socket.answer() == [second, end]
                assert await late.told() == []


async def test_what_has_ended_is_resumed_too(stand: Standing) -> None:
    async with joined(stand, "resumes:2") as (socket, _):
        await socket.send(message(stand.prompt(Answer(["a", "b", "c"]))))
        whole = await socket.answer()
        resume = {"type": "resume", "generation_id": whole[0]["generation_id"]}
        for after, rest in (
            (None, whole),
            ("1-0", whole[1:]),
            ("1-1", whole[2:]),
            ("1-3", whole[4:]),
            # Who holds the end is told it again.
            ("1-4", whole[4:]),
        ):
            await socket.send(resume | ({"after": after} if after else {}))
            assert await socket.answer() == rest
        for after in ("1-99", "7-1"):
            await socket.send(resume | {"after": after})
            reset, end = await socket.answer()
            assert reset == {
                "type": "reset",
                "generation_id": resume["generation_id"],
                "text": "abc",
                "position": "1-3",
            }
            assert end == whole[-1]
        assert await socket.told() == []


async def test_a_second_resume_replaces_the_first(stand: Standing) -> None:
    async with joined(stand, "replaced") as (socket, _):
        await socket.send(message(stand.prompt(Answer(["old"]))))
        old = await socket.answer()
        with stand.gate_closed():
            await socket.send(message(stand.prompt(HALF)))
            start, first = await socket.take(2)
            async with joined(stand, "replaced") as (late, _):
                await late.send({"type": "resume", "generation_id": start["generation_id"]})
                assert await late.take(2) == [start, first]
                await late.send({"type": "resume", "generation_id": old[0]["generation_id"]})
                assert await late.answer() == old
                stand.provider.release()
                await socket.answer()
                assert await late.told() == []


async def test_a_resume_runs_beside_what_is_live(stand: Standing) -> None:
    async with joined(stand, "beside") as (socket, _):
        await socket.send(message(stand.prompt(Answer(["old"]))))
        old = await socket.answer()
        with stand.gate_closed():
            await socket.send(message(stand.prompt(HALF)))
            begun = await socket.take(2)
            await socket.send({"type": "resume", "generation_id": old[0]["generation_id"]})
            assert await socket.answer() == old
        rest = await socket.answer()
        assert text_of([*begun, *rest]) == "first second"


async def test_of_resumes_in_quick_succession_the_last_counts(stand: Standing) -> None:
    """Also where what is wanted again was still being told when it was replaced."""
    pieces = ["x" * 20_000] * 50
    async with room(stand, "session") as here:
        device = await here.device()
        await device.send(here.question(Answer(["short"])))
        short = await device.answer()
        with stand.gate_closed():
            await device.send(here.question(Answer([*pieces, "end"], gate_after=len(pieces))))
            long = await device.take(1 + len(pieces))
            slow = await slow_device(here)
            for wanted in (long, short, long):
                await slow.send({"type": "resume", "generation_id": wanted[0]["generation_id"]})
            await soon(lambda: stalled(stand))
            stand.provider.release()
            end = await device.answer()
            frames: list[Json] = []
            while frames[-1:] != end[-1:]:
                frames.append(await slow.next())
        last = len(frames) - kinds(frames)[::-1].index("stream_start") - 1
        assert frames[last:] == long + end
        assert await slow.told() == []


async def test_whoever_reads_nothing_fills_no_memory_with_resumes(stand: Standing) -> None:
    """What a resume replaces is let go before the next begins."""
    async with room(stand, "session") as here:
        device = await here.device()
        answers: list[str] = []
        for _ in range(2):
            await device.send(here.question(Answer(["x" * 20_000] * 50)))
            answers.append((await device.answer())[0]["generation_id"])
        slow = await slow_device(here)
        for number in range(40):
            await slow.send({"type": "resume", "generation_id": answers[number % 2]})
        await soon(lambda: stalled(stand))
        sockets = [cast("Any", one) for one in stand.server.server.parts.sockets._open]
        assert max(len(socket._deliveries._tasks) for socket in sockets) == 1
        frames = await slow.until("stream_end")
        while text_of(frames[-52:]) != "x" * 20_000 * 50:
            frames += await slow.until("stream_end")
