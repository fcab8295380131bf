"""`/ws/chat/completions`: one question a frame, one answer at a time, which goes with its socket."""

import asyncio
from typing import Any, Final

import pytest

from provider import Answer
from rooms import FULL, HALF, WHOLE, error
from runnel.chat.audiences import Audiences
from sockets import kinds, opened, text_of
from standing import Json, Standing
from waiting import soon
from wire import NOBODYS_ID

PATH: Final = "/ws/chat/completions"
SETTINGS: Final = {"revocation_check_seconds": 0.02}

pytestmark = pytest.mark.usefixtures("tidy")


async def test_an_answer_is_a_start_its_tokens_and_an_end(stand: Standing) -> None:
    async with opened(stand.server, PATH, stand.user) as socket:
        prompt = stand.prompt(FULL)
        await socket.send({"question": prompt, "session_id": "sessao-teste-1"})
        start, *tokens, end = await socket.answer()
    assert set(start) == {"type", "session_id", "generation_id"}
    assert (start["type"], start["session_id"]) == ("start", "sessao-teste-1")
    row = stand.generation(start["generation_id"])
    assert {tuple(sorted(token)) for token in tokens} == {("text", "type")}
    assert {token["type"] for token in tokens} == {"token"}
    assert all(token["text"] for token in tokens)
    assert text_of(tokens) == row["text"] == WHOLE
    assert end == {"type": "end", "full_text": row["text"]}
    assert row["status"] == "completed"


async def test_the_session_is_echoed_as_it_was_sent(stand: Standing) -> None:
    async with opened(stand.server, PATH, stand.user) as socket:

        async def ask(**session: str) -> Json:
            await socket.send({"question": stand.prompt(Answer()), **session})
            return (await socket.answer())[0]

        named = await ask(session_id="echo:1")
        session_id = stand.generation(named["generation_id"])["session_id"]
        by_id = await ask(session_id=session_id)
        shouted = await ask(session_id=session_id.upper())
        made, other = await ask(), await ask()
    assert (named["session_id"], by_id["session_id"]) == ("echo:1", session_id)
    assert shouted["session_id"] == session_id.upper()
    for start in (by_id, shouted):
        assert stand.generation(start["generation_id"])["session_id"] == session_id
    # Where none was named, the id that the client needs to go on.
    assert made["session_id"] == stand.generation(made["generation_id"])["session_id"]
    assert made["session_id"] != other["session_id"]


async def test_the_talk_goes_on_in_its_session(stand: Standing) -> None:
    first, second = stand.prompt(Answer(["one"])), stand.prompt(Answer(["two"]))
    async with opened(stand.server, PATH, stand.user) as socket:
        for question in (first, second):
            await socket.send({"question": question, "session_id": "goes-on"})
            await socket.answer()
    asked = stand.provider.asks[-1].body["messages"]
    assert [turn["content"] for turn in asked] == [first, "one", second]


async def test_another_question_meanwhile_is_busy(stand: Standing) -> None:
    async with opened(stand.server, PATH, stand.user) as socket:
        with stand.gate_closed():
            await socket.send({"question": stand.prompt(HALF)})
            start, first = await socket.take(2)
            # In whatever session.
            question = {"question": stand.prompt(Answer()), "client_message_id": "later"}
            await socket.send(question)
            busy = await socket.next()
            message = error(busy, "busy", "generation_id", "client_message_id")
            assert "abort" in message
            assert busy["generation_id"] == start["generation_id"]
            assert (busy["retryable"], busy["client_message_id"]) == (True, "later")
        rest = await socket.answer()
        assert text_of([first, *rest]) == rest[-1]["full_text"] == "first second"
        # A refused question uses up no key.
        await socket.send(question)
        assert kinds(await socket.answer())[-1] == "end"


async def test_the_session_is_busy_for_every_door(stand: Standing) -> None:
    async with opened(stand.server, PATH, stand.user) as one:
        with stand.gate_closed():
            await one.send({"question": stand.prompt(HALF), "session_id": "taken"})
            start, _ = await one.take(2)
            response = stand.ask("/chat", Answer(), session_id="taken")
            assert (response.status_code, response.json()["code"]) == (409, "busy")
            async with opened(stand.server, PATH, stand.user) as two:
                await two.send({"question": stand.prompt(Answer()), "session_id": "taken"})
                busy = await two.next()
                error(busy, "busy", "generation_id", "retry_after")
                assert busy["generation_id"] == start["generation_id"]
                # Nothing runs at this socket: it may ask elsewhere.
                await two.send({"question": stand.prompt(Answer()), "session_id": "free"})
                assert kinds(await two.answer())[-1] == "end"
        assert (await one.answer())[-1]["full_text"] == "first second"


async def test_who_asks_at_once_after_the_end_is_never_busy(stand: Standing) -> None:
    # The longer the last frame, the longer it is on its way.
    prompt = stand.prompt(Answer(["x" * 300_000]))
    async with opened(stand.server, PATH, stand.user, max_size=None) as socket:
        for _ in range(15):
            await socket.send({"question": prompt})
            assert kinds(await socket.answer())[-1] == "end"


@pytest.mark.parametrize("place", [-1, 1], ids=["before the first token", "in mid-answer"])
async def test_an_abort_keeps_the_partial_and_the_socket(stand: Standing, place: int) -> None:
    answer = Answer(["first", " second"], gate_after=place)
    kept = "" if place < 0 else "first"
    async with opened(stand.server, PATH, stand.user) as socket:
        with stand.gate_closed():
            name = f"aborted{place}".replace("-", "_")
            await socket.send({"question": stand.prompt(answer), "session_id": name})
            start, *_ = await socket.take(1 if place < 0 else 2)
            await socket.send({"type": "abort"})
            assert await socket.answer() == [{"type": "aborted", "full_text": kept}]
            ended = stand.ended(start["generation_id"])
            assert ended == ("aborted", kept, None, "user")
            await socket.send({"question": stand.prompt(Answer(["on"])), "session_id": name})
            assert (await socket.answer())[-1] == {"type": "end", "full_text": "on"}


async def test_an_abort_of_nothing_is_told(stand: Standing) -> None:
    async with opened(stand.server, PATH, stand.user) as socket:
        await socket.send({"type": "abort"})
        error(await socket.next(), "not_found")
        await socket.send({"question": stand.prompt(Answer())})
        await socket.answer()
        await socket.send({"type": "abort"})
        error(await socket.next(), "not_found")


@pytest.mark.parametrize("how", ["close", "cut"])
async def test_closing_aborts_and_keeps_the_partial(
    stand: Standing, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with stand.gate_closed():
        async with opened(stand.server, PATH, stand.user) as socket:
            await socket.send({"question": stand.prompt(HALF)})
            start, _ = await socket.take(2)
            monkeypatch.setattr(_audiences(stand), "_grace_seconds", 0.05)
            await socket.close() if how == "close" else socket.cut()
        await soon(lambda: stand.ended(start["generation_id"])[0] == "aborted")
    assert stand.ended(start["generation_id"]) == ("aborted", "first", None, "disconnect")


@pytest.mark.parametrize("there", ["/ws", "/ws/overheard"])
async def test_a_channel_that_overhears_the_answer_does_not_keep_it(
    stand: Standing, monkeypatch: pytest.MonkeyPatch, there: str
) -> None:
    """Whoever has a page open hears all that is asked: that is no sign of wanting this answer."""
    with stand.gate_closed():
        async with opened(stand.server, there, stand.user) as other:
            await (other.told() if there == "/ws" else other.next())
            async with opened(stand.server, PATH, stand.user) as socket:
                await socket.send({"question": stand.prompt(HALF), "session_id": "overheard"})
                await socket.take(2)
                await other.until("token" if there == "/ws" else "stream_chunk")
                monkeypatch.setattr(_audiences(stand), "_grace_seconds", 0.05)
            assert kinds(await other.answer())[-1] == "aborted"


@pytest.mark.parametrize("reader", ["an attach", "a session's channel"])
async def test_closing_aborts_nothing_that_somebody_else_follows(
    stand: Standing, reader: str
) -> None:
    with stand.gate_closed():
        async with opened(stand.server, PATH, stand.user) as socket:
            name = f"followed:{reader.replace(' ', '-').replace(chr(39), '')}"
            await socket.send({"question": stand.prompt(HALF), "session_id": name})
            start, _ = await socket.take(2)
            generation_id = start["generation_id"]
            if reader == "an attach":
                path = f"/api/generations/{generation_id}/events"
                async with (
                    stand.server.client(stand.user) as client,
                    client.stream("GET", path) as response,
                ):
                    await _left_alone(stand, socket, generation_id)
                    assert "first second" in await _whole(response)
                return
            async with opened(stand.server, f"/ws/{name}", stand.user) as other:
                await other.send({"type": "resume", "generation_id": generation_id})
                await other.until("stream_chunk")
                await _left_alone(stand, socket, generation_id)
                assert kinds(await other.answer())[-1] == "stream_end"
    assert stand.generation(generation_id)["text"] == "first second"


async def _left_alone(stand: Standing, socket: Any, generation_id: str) -> None:
    """It goes, and the answer does not: it is followed all the while."""
    followers = stand.followers
    await socket.close()
    await soon(lambda: stand.followers == followers - 1)
    assert _audiences(stand)._audiences[generation_id].gone_at is None
    stand.provider.release()
    await soon(lambda: stand.ended(generation_id)[0] == "completed")


def _audiences(stand: Standing) -> Audiences:
    return stand.server.server.parts.chat._followers.audiences


async def _whole(response: Any) -> str:
    text = ""
    async for line in response.aiter_lines():
        if line.startswith('data: {"text"'):
            text += line.removeprefix('data: {"text":"').removesuffix('"}')
    return text


async def test_who_comes_back_with_the_key_has_it_all_from_the_beginning(
    stand: Standing,
) -> None:
    question = {"question": stand.prompt(HALF), "session_id": "again", "client_message_id": "k1"}
    with stand.gate_closed():
        async with opened(stand.server, PATH, stand.user) as first:
            await first.send(question)
            start, _ = await first.take(2)
            async with opened(stand.server, PATH, stand.user) as second:
                await second.send(question)
                assert await second.take(2) == [start, {"type": "token", "text": "first"}]
                await first.close()
                stand.provider.release()
                assert (await second.answer())[-1]["full_text"] == "first second"
                # Also of what has ended, and also at the same socket.
                await second.send(question)
                again = await second.answer()
                assert again[0] == start
                assert text_of(again) == again[-1]["full_text"] == "first second"
    asked = [ask.body["messages"][-1]["content"] for ask in stand.provider.asks]
    assert asked.count(question["question"]) == 1


async def test_a_key_is_of_one_question(stand: Standing) -> None:
    async with opened(stand.server, PATH, stand.user) as socket:
        await socket.send({"question": stand.prompt(Answer()), "client_message_id": "k2"})
        await socket.answer()
        await socket.send({"question": stand.prompt(Answer()), "client_message_id": "k2"})
        message = error(await socket.next(), "idempotency_conflict", "client_message_id")
        assert "new key" in message


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        ({"question": None}, "invalid_request", "question: "),
        ({"question": 5}, "invalid_request", "question: "),
        ({"question": "  "}, "invalid_request", "empty"),
        ({"question": "x" * 5001}, "message_too_long", "5000"),
        ({"question": "?", "session_id": "a b"}, "invalid_request", "session_id: is an id, or a"),
        ({"question": "?", "session_id": ""}, "invalid_request", "session_id: "),
        ({"question": "?", "session_id": 5}, "invalid_request", "session_id: "),
        ({"question": "?", "session_id": "me"}, "invalid_request", "session_id: `me`"),
        ({"question": "?", "session_id": NOBODYS_ID}, "not_found", "no such session"),
        ({"question": "?", "model": "nobody's"}, "unknown_model", "chat/test"),
        ({"question": "?", "model": 5}, "invalid_request", "model: "),
        ({"question": "?", "params": 5}, "invalid_request", "params: "),
        ({"question": "?", "params": {"top_k": 5}}, "invalid_request", "params.top_k: is not a"),
        ({"question": "?", "params": {"seed": "x"}}, "invalid_request", "params.seed: "),
        (
            {"question": "?", "params": {"base_url": "http://x"}},
            "invalid_request",
            "params.base_url: is the server's",
        ),
        ({"question": "?", "base_url": "http://x"}, "invalid_request", "base_url: is the server"),
        ({"question": "?", "temperature": 1}, "invalid_request", "temperature: belongs into"),
        ({"question": "?", "prompt": "?"}, "invalid_request", "prompt: is not a field of this fr"),
        ({"question": "?", "messages": []}, "invalid_request", "messages: is not a field of this"),
        ({"question": "?", "background": True}, "invalid_request", "background: is not a field"),
        ({"type": "resume", "generation_id": NOBODYS_ID}, "invalid_request", "type: "),
        ({}, "invalid_request", "type: "),
        ("[]", "invalid_request", "one JSON object"),
        ("5", "invalid_request", "one JSON object"),
        ("", "invalid_request", "one JSON object"),
        ('{"question":', "invalid_request", "one JSON object"),
        ('{"question": NaN}', "invalid_request", "one JSON object"),
        (b'{"question": "?"}', "invalid_request", "text frames"),
    ],
)
async def test_a_wrong_frame_is_told_and_the_socket_goes_on(
    stand: Standing, frame: Json | str | bytes, code: str, says: str
) -> None:
    async with opened(stand.server, PATH, stand.user) as socket:
        await socket.send(frame)
        told = await socket.next()
        assert says in error(told, code)
        assert not told["retryable"]
        await socket.send({"question": stand.prompt(Answer())})
        assert kinds(await socket.answer())[-1] == "end"


async def test_a_key_that_is_none_is_named(stand: Standing) -> None:
    async with opened(stand.server, PATH, stand.user) as socket:
        await socket.send({"question": "?", "client_message_id": 5})
        assert error(await socket.next(), "invalid_request").startswith("client_message_id: ")
        await socket.send({"question": "?", "client_message_id": "ü"})
        told = await socket.next()
        assert "client_message_id is 1 to" in error(told, "invalid_request", "client_message_id")


async def test_a_failed_answer_says_so_and_keeps_its_text(stand: Standing) -> None:
    async with opened(stand.server, PATH, stand.user) as socket:
        await socket.send({"question": stand.prompt(Answer(["half"], cut_after=1))})
        start, token, failed = await socket.answer()
        error(failed, "upstream_incomplete", "generation_id")
        assert (token["text"], failed["retryable"]) == ("half", True)
        assert failed["generation_id"] == start["generation_id"]
        assert stand.ended(start["generation_id"])[:2] == ("failed", "half")
        await socket.send({"question": stand.prompt(Answer())})
        assert kinds(await socket.answer())[-1] == "end"


async def test_several_answers_at_once_take_several_sockets(stand: Standing) -> None:
    async def ask(number: int) -> str:
        async with opened(stand.server, PATH, stand.user) as socket:
            await socket.send({"question": stand.prompt(Answer([f"{number}", "!"] * 20))})
            frames = await socket.answer()
            assert text_of(frames) == frames[-1]["full_text"]
            return frames[-1]["full_text"]

    assert await asyncio.gather(*map(ask, range(10))) == [f"{n}!" * 20 for n in range(10)]


async def test_a_question_sent_again_in_mid_answer_is_no_other(stand: Standing) -> None:
    question = {"question": stand.prompt(HALF), "client_message_id": "k3"}
    async with opened(stand.server, PATH, stand.user) as socket:
        with stand.gate_closed():
            await socket.send(question)
            begun = await socket.take(2)
            await socket.send(question)
            assert await socket.take(2) == begun
            # Under its key, but another.
            await socket.send(question | {"question": stand.prompt(Answer())})
            error(await socket.next(), "idempotency_conflict", "client_message_id")
        assert (await socket.answer())[-1]["full_text"] == "first second"
        assert await socket.told() == []
