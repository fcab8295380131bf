"""Answers that another model begins anew: what was shown is replaced, in all three dialects."""

from typing import Any, Final

import pytest

from provider import Answer, Provider
from serving import LiveServer
from sockets import Socket, kinds, opened, text_of
from standing import Json
from wire import Serve

ASKS: Final[dict[str, tuple[str, Json]]] = {
    "completions": ("/ws/chat/completions", {"question": "?", "session_id": "s"}),
    "session": ("/ws/s", {"type": "message", "content": "?"}),
    "user": ("/ws", {"action": "send_message", "content": "?", "chat_id": "s"}),
}
KEY: Final = {"client_message_id": "k"}
#: What comes before the text, the text, and the end.
WORDS: Final = {
    "completions": (["start"], "token", "end"),
    "session": (["message_saved", "stream_start"], "stream_chunk", "stream_end"),
    "user": (["message", "task"], "token", "message"),
}


@pytest.fixture
def server(serve: Serve, provider: Provider) -> LiveServer:
    """Its model breaks off once the gate opens; then another begins the answer anew."""
    usual = {"provider": "openai", "base_url": provider.url}
    first = {"model": "one", "fallbacks": ["chat/second"], "mid_stream": "restart"}
    provider.answer("one", Answer(["half"], gate_after=1, cut_after=1))
    provider.answer("two", Answer(["from ", "the second"]))
    aliases = {"chat/first": usual | first, "chat/second": usual | {"model": "two"}}
    return serve(models={"default": "chat/first", "aliases": aliases})


@pytest.mark.parametrize("name", ASKS)
async def test_a_reset_replaces_what_was_shown(
    server: LiveServer, provider: Provider, name: str
) -> None:
    path, question = ASKS[name]
    before, piece, end = WORDS[name]
    async with opened(server, path, server.user("ana")) as socket:
        await _begin(socket, name, question | KEY)
        told = await socket.until(piece)
        assert kinds(told) == [*before, piece]
        provider.release()
        told += await socket.answer()
        assert kinds(told) == [*before, piece, "reset", piece, piece, end]
        reset = told[-4]
        assert set(reset) == {"type", "generation_id", "text", "position"}
        assert (reset["text"], reset["position"]) == ("", "2-0")
        assert text_of(told) == "from the second"
        _assert_whole(told[-1])


@pytest.mark.parametrize("name", ASKS)
async def test_who_comes_after_it_is_told_what_the_answer_belongs_to(
    server: LiveServer, provider: Provider, name: str
) -> None:
    path, question = ASKS[name]
    before, piece, end = WORDS[name]
    async with opened(server, path, server.user("ana")) as socket:
        await _begin(socket, name, question | KEY)
        first = await socket.until(piece)
        provider.release()
        last = (await socket.answer())[-1]
        await socket.send(question | KEY)
        again = await socket.answer()
        assert kinds(again) == [*before, "reset", piece, piece, end]
        assert again[: len(before)] == first[:-1]
        assert (text_of(again), again[-1]) == ("from the second", last)
        if name == "session":
            resume = {"type": "resume", "generation_id": again[1]["generation_id"]}
            await socket.send(resume)
            assert await socket.answer() == again[1:]
            # Who has read some of what was begun before needs the text only.
            await socket.send(resume | {"after": "1-1"})
            assert kinds(await socket.answer()) == ["reset", "stream_end"]


async def test_one_that_is_shown_whole_shows_nothing_of_it(
    server: LiveServer, provider: Provider
) -> None:
    provider.release()
    async with opened(server, "/ws/s", server.user("ana")) as socket:
        await _begin(socket, "session", ASKS["session"][1] | {"stream": False})
        [whole] = await socket.answer()
        assert whole["content"] == "from the second"
        assert whole["metadata"]["agent_used"] == "chat/second"


async def _begin(socket: Socket, name: str, question: Json) -> None:
    if name == "session":
        await socket.next()
    await socket.send(question)


def _assert_whole(end: Any) -> None:
    match end:
        case {"full_text": text} | {"message": {"content": text}}:
            assert text == "from the second"
        case _:
            assert end["metadata"]["agent_used"] == "chat/second"
