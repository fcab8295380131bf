"""`/ws/{session_id}?chunks=false`: who only wants to know that something happens is sent no text."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from provider import Answer, Provider
from rooms import FULL, HALF, WHOLE, error, joined, message
from sockets import Socket, closing, kinds, opened, text_of
from standing import Standing
from wire import Serve

pytestmark = pytest.mark.usefixtures("tidy")


@asynccontextmanager
async def listening(stand: Standing, session: str) -> AsyncGenerator[Socket]:
    """A connection without chunks, which has read how the session stands."""
    async with opened(stand.server, f"/ws/{session}?chunks=false", stand.user) as socket:
        assert (await socket.next())["type"] == "connected"
        yield socket


async def test_it_is_told_all_but_the_text(stand: Standing) -> None:
    async with joined(stand, "bare:1") as (asker, _), listening(stand, "bare:1") as other:
        await asker.send(message(stand.prompt(FULL), client_message_id="bare:1"))
        whole = await asker.answer()
        assert text_of(whole) == WHOLE
        bare = [frame for frame in whole if frame["type"] != "stream_chunk"]
        assert await other.answer() == bare
        assert kinds(bare) == ["message_saved", "stream_start", "stream_end"]
        # The other way round it asks, and reads as little.
        await other.send(message(stand.prompt(FULL)))
        assert kinds(await other.answer()) == ["stream_start", "stream_end"]
        assert text_of(await asker.answer()) == WHOLE


async def test_an_abort_and_a_failure_are_told(stand: Standing) -> None:
    async with listening(stand, "bare:2") as socket:
        with stand.gate_closed():
            await socket.send(message(stand.prompt(HALF)))
            assert kinds(await socket.take(1)) == ["stream_start"]
            await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
            await socket.send({"type": "abort"})
            assert kinds(await socket.answer()) == ["aborted"]
        await socket.send(message(stand.prompt(Answer(["half"], cut_after=1))))
        start, failed = await socket.answer()
        assert start["type"] == "stream_start"
        error(failed, "upstream_incomplete", "generation_id")


async def test_one_that_is_shown_whole_comes_whole(stand: Standing) -> None:
    async with listening(stand, "bare:3") as socket:
        await socket.send(message(stand.prompt(FULL), stream=False))
        [whole] = await socket.answer()
        assert (whole["type"], whole["content"]) == ("message", WHOLE)


async def test_a_resumed_one_is_told_from_its_start_or_its_end(stand: Standing) -> None:
    async with listening(stand, "bare:4") as socket:
        await socket.send(message(stand.prompt(FULL)))
        start, end = await socket.answer()
        resume = {"type": "resume", "generation_id": start["generation_id"]}
        await socket.send(resume)
        assert await socket.answer() == [start, end]
        for after in ("1-2", "7-7"):  # read, and of no epoch there was
            await socket.send(resume | {"after": after})
            assert await socket.answer() == [end]


async def test_an_answer_that_is_begun_anew_shows_nothing_of_it(
    serve: Serve, provider: Provider
) -> None:
    usual = {"provider": "openai", "base_url": provider.url}
    first = {"model": "one", "fallbacks": ["chat/second"], "mid_stream": "restart"}
    provider.answer("one", Answer(["half"], cut_after=1))
    provider.answer("two", Answer(["from the second"]))
    aliases = {"chat/first": usual | first, "chat/second": usual | {"model": "two"}}
    server = serve(models={"default": "chat/first", "aliases": aliases})
    async with opened(server, "/ws/s?chunks=false", server.user("ana")) as socket:
        await socket.next()
        await socket.send(message("?"))
        assert kinds(await socket.answer()) == ["stream_start", "stream_end"]


async def test_with_chunks_is_as_without_the_query(stand: Standing) -> None:
    async with opened(stand.server, "/ws/bare:5?chunks=true", stand.user) as socket:
        await socket.next()
        await socket.send(message(stand.prompt(FULL)))
        assert text_of(await socket.answer()) == WHOLE


@pytest.mark.parametrize("value", ["", "0", "False", "no", "true%20"])
async def test_any_other_value_is_refused_by_its_name(stand: Standing, value: str) -> None:
    async with opened(stand.server, f"/ws/bare:6?chunks={value}", stand.user) as socket:
        assert await closing(socket) == (4400, "chunks: is true or false")


@pytest.mark.parametrize("path", ["/ws", "/ws/me", "/ws/chat/completions"])
async def test_what_is_no_session_has_no_such_choice(stand: Standing, path: str) -> None:
    async with opened(stand.server, f"{path}?chunks=false", stand.user) as socket:
        assert await closing(socket) == (4400, "chunks: is of the channel of a session")
