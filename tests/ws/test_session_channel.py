"""`/ws/{session_id}`: what one connection is told of its session, frame by frame."""

import asyncio

import pytest

from provider import Answer
from rooms import (
    FULL,
    HALF,
    WHOLE,
    error,
    joined,
    message,
)
from sockets import kinds, opened, text_of
from standing import Json, Standing
from waiting import soon
from wire import NOBODYS_ID

pytestmark = pytest.mark.usefixtures("tidy")


async def test_an_unknown_name_is_made_and_found_again(stand: Standing) -> None:
    async with joined(stand, "new:1") as (_, first):
        pass
    assert (first["last_message_id"], first["running"]) == (None, None)
    async with joined(stand, "new:1") as (_, again):
        pass
    async with joined(stand, first["session_id"]) as (_, by_id):
        pass
    async with joined(stand, first["session_id"].upper()) as (_, shouted):
        pass
    assert {each["session_id"] for each in (again, by_id, shouted)} == {first["session_id"]}
    connections = {each["connection_id"] for each in (first, again, by_id, shouted)}
    assert len(connections) == 4


async def test_who_come_at_once_make_one_session(stand: Standing) -> None:
    async def join() -> str:
        async with joined(stand, "raced") as (_, connected):
            return connected["session_id"]

    assert len(set(await asyncio.gather(*(join() for _ in range(10))))) == 1


async def test_an_unknown_id_is_unknown(stand: Standing) -> None:
    other = stand.server.user("foreigner")
    async with opened(stand.server, "/ws/theirs", other) as socket:
        theirs = (await socket.next())["session_id"]
    hidden = [row[0] for row in stand.rows("SELECT id FROM sessions WHERE hidden")]
    for session in (NOBODYS_ID, theirs, *hidden):
        async with opened(stand.server, f"/ws/{session}", stand.user) as socket:
            assert await socket.closed() == 4404


async def test_an_answer_is_a_start_its_chunks_and_an_end(stand: Standing) -> None:
    async with joined(stand, "frames") as (socket, _):
        await socket.send(message(stand.prompt(FULL)))
        start, *chunks, end = await socket.answer()
    assert set(start) == {"type", "message_id", "generation_id"}
    assert start["type"] == "stream_start"
    row = stand.generation(start["generation_id"])
    message_id = row["message_id"]
    for offset, chunk in enumerate(chunks, 1):
        assert set(chunk) == {"type", "content", "message_id", "position"}
        assert chunk["type"] == "stream_chunk"
        assert (chunk["message_id"], chunk["position"]) == (message_id, f"1-{offset}")
    assert text_of(chunks) == row["text"] == WHOLE
    assert start["message_id"] == message_id
    assert end == {
        "type": "stream_end",
        "message_id": message_id,
        "metadata": {
            "tokens_used": 15,
            "processing_time": row["latency_ms"] / 1000,
            "agent_used": "chat/test",
            "finish_reason": "stop",
        },
    }
    async with joined(stand, "frames") as (_, connected):
        assert (connected["last_message_id"], connected["running"]) == (message_id, None)


async def test_the_sender_is_told_that_it_is_saved_if_it_gave_a_key(stand: Standing) -> None:
    prompt = stand.prompt(Answer())
    question = message(prompt, client_message_id="s1", metadata={"a": 1}, timestamp="now")
    async with joined(stand, "saved") as (socket, _):
        await socket.send(question)
        saved, *answer = await socket.answer()
        row = stand.generation(answer[0]["generation_id"])
        [[user_message]] = stand.rows(
            f"SELECT user_message_id FROM generations WHERE id = '{row['generation_id']}'"  # noqa: S608 - an id of ours
        )
        assert saved == {
            "type": "message_saved",
            "message_id": user_message,
            "client_message_id": "s1",
            "role": "user",
            "content": prompt,
        }
        # Sent again, at the same connection and at another, it is told again, whole.
        await socket.send(question)
        assert await socket.answer() == [saved, *answer]
    async with joined(stand, "saved") as (socket, _):
        await socket.send(question)
        assert await socket.answer() == [saved, *answer]
    asked = [ask.body["messages"][-1]["content"] for ask in stand.provider.asks]
    assert asked.count(prompt) == 1


async def test_a_message_sent_again_in_mid_answer_begins_anew(stand: Standing) -> None:
    question = message(stand.prompt(HALF), client_message_id="s2")
    async with joined(stand, "twice") as (socket, _):
        with stand.gate_closed():
            await socket.send(question)
            begun = await socket.take(3)
            assert kinds(begun) == ["message_saved", "stream_start", "stream_chunk"]
            await socket.send(question)
            assert await socket.take(3) == begun
        assert text_of([*begun, *await socket.answer()]) == "first second"
        assert await socket.told() == []


async def test_one_that_is_not_streamed_is_one_frame(stand: Standing) -> None:
    async with joined(stand, "whole") as (socket, _):
        for question in (
            message(stand.prompt(FULL), stream=False),
            message(stand.prompt(FULL), params={"stream": False}),
        ):
            await socket.send(question)
            [whole] = await socket.answer()
            assert set(whole) == {"type", "message_id", "content", "metadata"}
            assert (whole["type"], whole["content"]) == ("message", WHOLE)
            assert set(whole["metadata"]) == {
                "tokens_used",
                "processing_time",
                "agent_used",
                "finish_reason",
            }
        await socket.send(message(stand.prompt(Answer()), stream=True))
        assert kinds(await socket.answer())[0] == "stream_start"


async def test_a_whole_one_that_is_aborted_or_fails_says_so(stand: Standing) -> None:
    async with joined(stand, "whole:2") as (socket, _):
        with stand.gate_closed():
            await socket.send(message(stand.prompt(HALF), stream=False))
            await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
            await socket.send({"type": "abort"})
            assert kinds(await socket.answer()) == ["aborted"]
        await socket.send(message(stand.prompt(Answer(["half"], cut_after=1)), stream=False))
        [failed] = await socket.answer()
        error(failed, "upstream_incomplete", "generation_id")


async def test_who_comes_in_mid_answer_is_told_what_is_running(stand: Standing) -> None:
    async with joined(stand, "running") as (socket, _):
        with stand.gate_closed():
            await socket.send(message(stand.prompt(HALF)))
            start, _ = await socket.take(2)
            generation_id = start["generation_id"]
            await soon(lambda: stand.generation(generation_id)["position"] == "1-1")
            async with joined(stand, "running") as (_, connected):
                assert connected["running"] == {
                    "generation_id": generation_id,
                    "message_id": start["message_id"],
                    "position": "1-1",
                }
                assert connected["last_message_id"] == start["message_id"]


@pytest.mark.parametrize("place", [-1, 1], ids=["before the first token", "in mid-answer"])
@pytest.mark.parametrize("named", [True, False])
async def test_an_abort_is_told_and_the_socket_goes_on(
    stand: Standing,
    place: int,
    named: bool,  # noqa: FBT001 - a parameter of the test's
) -> None:
    answer = Answer(["first", " second"], gate_after=place)
    async with joined(stand, "aborts") as (socket, _):
        with stand.gate_closed():
            await socket.send(message(stand.prompt(answer)))
            start, *_ = await socket.take(1 if place < 0 else 2)
            generation_id = start["generation_id"]
            await socket.send(
                {"type": "abort"} | ({"generation_id": generation_id} if named else {})
            )
            told = {
                "type": "aborted",
                "generation_id": generation_id,
                "message_id": start["message_id"],
            }
            assert await socket.answer() == [told]
            # Again, by its id: its end is told again.
            await socket.send({"type": "abort", "generation_id": generation_id})
            assert await socket.answer() == [told]
            await socket.send({"type": "abort"})
            error(await socket.next(), "not_found")
        kept = "" if place < 0 else "first"
        assert stand.ended(generation_id) == ("aborted", kept, None, "user")


async def test_an_abort_of_what_has_ended_is_answered_with_its_end(stand: Standing) -> None:
    async with joined(stand, "ended") as (socket, _):
        for answer in (Answer(), Answer(["half"], cut_after=1)):
            await socket.send(message(stand.prompt(answer)))
            told = await socket.answer()
            await socket.send({"type": "abort", "generation_id": told[0]["generation_id"]})
            assert await socket.answer() == [told[-1]]


@pytest.mark.parametrize("kind", ["abort", "resume"])
async def test_what_is_not_of_this_session_is_unknown_here(stand: Standing, kind: str) -> None:
    other = stand.server.user(f"stranger-{kind}")
    async with opened(stand.server, "/ws/s", other) as socket:
        await socket.next()
        await socket.send(message(stand.prompt(Answer())))
        theirs = (await socket.answer())[0]["generation_id"]
    elsewhere = stand.ask("/chat", Answer()).json()["generation_id"]
    stateless = stand.client.post(
        "/v1/chat/completions",
        json={
            "model": "chat/test",
            "messages": [{"role": "user", "content": stand.prompt(Answer())}],
        },
    )
    assert stateless.status_code == 200
    [[hidden]] = stand.rows(
        "SELECT g.id FROM generations g JOIN sessions s ON s.id = g.session_id"
        " WHERE s.hidden ORDER BY g.created_at DESC LIMIT 1"
    )
    messages: set[str] = set()
    async with joined(stand, "own") as (socket, _):
        for generation_id in (theirs, NOBODYS_ID, "x", elsewhere, hidden):
            await socket.send({"type": kind, "generation_id": generation_id})
            messages.add(error(await socket.next(), "not_found"))
    # Whether it is there at all, nobody is told to whom it does not belong.
    assert len(messages) <= 2


@pytest.mark.parametrize("how", ["close", "cut"])
async def test_closing_detaches_only(stand: Standing, how: str) -> None:
    with stand.gate_closed():
        async with joined(stand, "leaves") as (socket, _):
            await socket.send(message(stand.prompt(HALF)))
            start, _ = await socket.take(2)
            await socket.close() if how == "close" else socket.cut()
        await soon(lambda: not stand.followers)
        stand.provider.release()
        await soon(lambda: stand.ended(start["generation_id"])[0] == "completed")
    assert stand.generation(start["generation_id"])["text"] == "first second"


async def test_a_busy_session_says_what_runs(stand: Standing) -> None:
    async with joined(stand, "busy") as (socket, _):
        with stand.gate_closed():
            await socket.send(message(stand.prompt(HALF)))
            start, _ = await socket.take(2)
            question = message(stand.prompt(Answer()), client_message_id="b1")
            await socket.send(question)
            busy = await socket.next()
            error(busy, "busy", "generation_id", "retry_after", "client_message_id")
            assert busy["generation_id"] == start["generation_id"]
            assert busy["client_message_id"] == "b1"
        assert kinds(await socket.answer())[-1] == "stream_end"
        await socket.send(question)
        assert kinds(await socket.answer())[0] == "message_saved"


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        ({"type": "message"}, "invalid_request", "content: "),
        ({"type": "message", "content": 5}, "invalid_request", "content: "),
        ({"type": "message", "content": " \n"}, "invalid_request", "empty"),
        ({"type": "message", "content": "x" * 5001}, "message_too_long", "5000"),
        (message("?", message="?"), "invalid_request", "message: is not a field of this frame"),
        (message("?", session_id="s"), "invalid_request", "session_id: is not a field"),
        (message("?", stream="maybe"), "invalid_request", "stream: "),
        (message("?", stream=True, params={"stream": False}), "invalid_request", "stream: "),
        (message("?", params=[]), "invalid_request", "params: "),
        (message("?", params={"message": "?"}), "invalid_request", "params.message: stands beside"),
        (message("?", model=""), "invalid_request", "model: "),
        (message("?", attachments="x"), "invalid_request", "attachments: "),
        ({"type": "resume"}, "invalid_request", "generation_id: "),
        (
            {"type": "resume", "generation_id": NOBODYS_ID, "after": "x"},
            "invalid_request",
            "after: is a position as 1-42",
        ),
        ({"type": "abort", "generation_id": 5}, "invalid_request", "generation_id: is a text"),
        ({"type": "abort"}, "not_found", "No answer"),
        ({"type": "typing"}, "invalid_request", "active: "),
        ({"type": "stop"}, "invalid_request", "type: is message, resume"),
        ({"question": "?"}, "invalid_request", "type: is message, resume"),
        ({"action": "send_message", "content": "?"}, "invalid_request", "type: is message"),
    ],
)
async def test_a_wrong_frame_is_told_and_the_socket_goes_on(
    stand: Standing, frame: Json, code: str, says: str
) -> None:
    async with joined(stand, "wrong") as (socket, _):
        await socket.send(frame)
        told = await socket.next()
        assert says in error(told, code)
        assert not told["retryable"]
        assert await socket.told() == []


async def test_a_message_sent_again_by_the_sessions_id_is_the_same(stand: Standing) -> None:
    """Who came by a name is told the id, and may well come back by it."""
    question = message(stand.prompt(Answer()), client_message_id="n1")
    async with joined(stand, "by-name") as (socket, connected):
        await socket.send(question)
        told = await socket.answer()
    async with joined(stand, connected["session_id"]) as (socket, _):
        await socket.send(question)
        assert await socket.answer() == told
