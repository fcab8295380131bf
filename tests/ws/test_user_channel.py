"""`/ws/{user_id}`: all chats of one user at one connection, several of which run at once."""

from itertools import count
from typing import Any

import pytest

from provider import Answer
from rooms import FULL, HALF, WHOLE, error
from serving import Signed
from sockets import is_end, kinds, opened, text_of
from standing import Json, Standing
from waiting import soon
from wire import NOBODYS_ID

_numbers = count(1)

pytestmark = pytest.mark.usefixtures("tidy")


@pytest.fixture
def user(stand: Standing) -> Signed:
    """One whose chats nobody else has."""
    return stand.server.user(f"chatter{next(_numbers)}")


def say(content: str, chat_id: Any = None, **members: Any) -> Json:
    frame = {"action": "send_message", "content": content, **members}
    return frame if chat_id is None else frame | {"chat_id": chat_id}


async def generation(stand: Standing, user: Signed, generation_id: str) -> Json:
    async with stand.server.client(user) as client:
        response = await client.get(f"/api/generations/{generation_id}")
    assert response.status_code == 200, response.text
    return response.json()


async def test_an_answer_is_the_question_a_task_its_tokens_and_the_whole(
    stand: Standing, user: Signed
) -> None:
    prompt = stand.prompt(FULL)
    async with opened(stand.server, "/ws", user) as socket:
        await socket.send(say(prompt, "trip"))
        question, task, *tokens, whole = await socket.answer()
    assert set(question) == set(whole) == {"type", "message"}
    assert question["type"] == whole["type"] == "message"
    for message in (question["message"], whole["message"]):
        assert set(message) == {"id", "chat_id", "content", "is_ai", "timestamp"}
        assert message["chat_id"] == "trip"
        assert message["timestamp"].endswith("Z")
    assert (question["message"]["is_ai"], question["message"]["content"]) == (False, prompt)
    assert set(task) == {"type", "task_id", "chat_id"}
    assert (task["type"], task["chat_id"]) == ("task", "trip")
    row = await generation(stand, user, task["task_id"])
    for token in tokens:
        assert set(token) == {"type", "token", "task_id", "chat_id"}
        assert token["type"] == "token"
        assert (token["task_id"], token["chat_id"]) == (row["generation_id"], "trip")
    assert text_of(tokens) == row["text"] == WHOLE
    ai = whole["message"]
    assert (ai["is_ai"], ai["content"], ai["id"]) == (True, row["text"], row["message_id"])


@pytest.mark.parametrize("path", ["/ws", "/ws/me", "/ws/{id}", "/ws/{name}", "/ws/users/{id}"])
async def test_the_channel_has_many_names(stand: Standing, user: Signed, path: str) -> None:
    async with stand.server.client(user) as client:
        own_id = (await client.get("/me")).json()["id"]
    path = path.format(id=own_id, name=user.username)
    async with opened(stand.server, path, user) as socket:
        await socket.send(say(stand.prompt(Answer()), 1))
        assert kinds(await socket.answer())[:2] == ["message", "task"]


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("trip", "trip"),
        (123, 123),
        ("123", 123),
        (0, 0),
        (-5, -5),
        ("007", "007"),
        (2**53 + 1, 2**53 + 1),
        (2**63 - 1, 2**63 - 1),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        ("9" * 100, "9" * 100),
    ],
)
async def test_a_chat_is_called_as_it_was(
    stand: Standing, user: Signed, sent: str | int, told: str | int
) -> None:
    async with opened(stand.server, "/ws", user) as socket:
        for _ in range(2):
            await socket.send(say(stand.prompt(Answer()), sent))
            frames = await socket.answer()
            chats = [
                frame.get("chat_id", frame.get("message", {}).get("chat_id")) for frame in frames
            ]
            assert {(type(chat), chat) for chat in chats} == {(type(told), told)}
    async with stand.server.client(user) as client:
        rows = (await client.get("/api/generations")).json()["generations"]
    assert len({row["session_id"] for row in rows}) == 1


async def test_a_chat_without_a_name_is_called_by_its_id(stand: Standing, user: Signed) -> None:
    async with opened(stand.server, "/ws", user) as socket:
        await socket.send(say(stand.prompt(Answer())))
        first = (await socket.answer())[1]
        row = await generation(stand, user, first["task_id"])
        assert first["chat_id"] == row["session_id"]
        await socket.send(say(stand.prompt(Answer()), first["chat_id"]))
        assert (await socket.answer())[1]["chat_id"] == row["session_id"]
        await socket.send(say(stand.prompt(Answer())))
        assert (await socket.answer())[1]["chat_id"] != row["session_id"]
        # One that has a name is called by it, also if it was called by its id.
        await socket.send(say(stand.prompt(Answer()), "named"))
        named = await generation(stand, user, (await socket.answer())[1]["task_id"])
        await socket.send(say(stand.prompt(Answer()), named["session_id"]))
        assert (await socket.answer())[1]["chat_id"] == "named"


async def test_several_chats_run_at_once(stand: Standing, user: Signed) -> None:
    names = [f"chat-{number}" for number in range(8)]
    async with opened(stand.server, "/ws", user) as socket:
        with stand.gate_closed():
            for name in names:
                await socket.send(say(stand.prompt(Answer([name, "!"], gate_after=1)), name))
            begun: list[Json] = []
            while kinds(begun).count("token") < len(names):
                begun.append(await socket.next())
        frames = begun + await socket.answers(len(names))
        for name in names:
            own = [
                frame
                for frame in frames
                if frame.get("chat_id", frame.get("message", {}).get("chat_id")) == name
            ]
            assert kinds(own) == ["message", "task", "token", "token", "message"]
            assert text_of(own) == own[-1]["message"]["content"] == f"{name}!"


async def test_one_of_several_is_aborted(stand: Standing, user: Signed) -> None:
    async with opened(stand.server, "/ws", user) as socket:
        with stand.gate_closed():
            tasks: dict[str, str] = {}
            for name in ("a", "b"):
                await socket.send(say(stand.prompt(HALF), name))
                tasks[name] = (await socket.until("token"))[-1]["task_id"]
            await socket.send({"action": "abort", "task_id": tasks["a"]})
            told = {"type": "aborted", "task_id": tasks["a"], "chat_id": "a"}
            assert await socket.answer() == [told]
            assert stand.ended(tasks["a"]) == ("aborted", "first", None, "user")
            # Again: its end is told again.
            await socket.send({"action": "abort", "task_id": tasks["a"]})
            assert await socket.answer() == [told]
        whole = (await socket.answer())[-1]["message"]
        assert (whole["chat_id"], whole["content"]) == ("b", "first second")
        await socket.send({"action": "abort", "task_id": tasks["b"]})
        assert (await socket.answer())[-1]["message"] == whole


async def test_an_abort_before_the_first_token_is_told(stand: Standing, user: Signed) -> None:
    async with opened(stand.server, "/ws", user) as socket:
        with stand.gate_closed():
            await socket.send(say(stand.prompt(Answer(gate_after=-1)), "a"))
            _, task = await socket.take(2)
            await socket.send({"action": "abort", "task_id": task["task_id"]})
            assert kinds(await socket.answer()) == ["aborted"]


async def test_of_another_user_nothing_is_known(stand: Standing, user: Signed) -> None:
    other = stand.server.user(f"{user.username}-other")
    async with (
        opened(stand.server, "/ws", user) as mine,
        opened(stand.server, "/ws", other) as theirs,
    ):
        with stand.gate_closed():
            await theirs.send(say(stand.prompt(HALF)))
            token = (await theirs.until("token"))[-1]
            messages: set[str] = set()
            for task_id in (token["task_id"], NOBODYS_ID, "x"):
                await mine.send({"action": "abort", "task_id": task_id})
                messages.add(error(await mine.next(), "not_found"))
            assert len(messages) == 1
            said: set[str] = set()
            for chat_id in (token["chat_id"], NOBODYS_ID):
                await mine.send(say(stand.prompt(Answer()), chat_id))
                said.add(error(await mine.next(), "not_found"))
            assert len(said) == 1
        assert (await theirs.answer())[-1]["message"]["content"] == "first second"
        assert await mine.told() == []


async def test_a_message_sent_again_is_told_again_and_asked_once(
    stand: Standing, user: Signed
) -> None:
    frame = say(stand.prompt(HALF), "again", client_message_id="u1")
    async with opened(stand.server, "/ws", user) as socket:
        with stand.gate_closed():
            await socket.send(frame)
            begun = await socket.take(3)
            await socket.send(frame)
            assert await socket.take(3) == begun
        rest = await socket.answer()
        assert await socket.told() == []
        await socket.send(frame)
        assert await socket.answer() == [*begun, *rest]
        await socket.send(say("another", "again", client_message_id="u1"))
        error(await socket.next(), "idempotency_conflict", "client_message_id")
    asked = [ask.body["messages"][-1]["content"] for ask in stand.provider.asks]
    assert asked.count(frame["content"]) == 1


async def test_a_chat_that_is_being_answered_is_busy(stand: Standing, user: Signed) -> None:
    async with opened(stand.server, "/ws", user) as socket:
        with stand.gate_closed():
            await socket.send(say(stand.prompt(HALF), 7))
            token = (await socket.until("token"))[-1]
            await socket.send(say(stand.prompt(Answer()), 7))
            busy = await socket.next()
            error(busy, "busy", "generation_id", "retry_after")
            assert busy["generation_id"] == token["task_id"]
        await socket.answer()


async def test_a_failed_answer_says_which_it_was(stand: Standing, user: Signed) -> None:
    async with opened(stand.server, "/ws", user) as socket:
        await socket.send(say(stand.prompt(Answer(["half"], cut_after=1)), 5))
        *_, token, failed = await socket.answer()
        error(failed, "upstream_incomplete", "generation_id", "task_id", "chat_id")
        assert failed["task_id"] == failed["generation_id"] == token["task_id"]
        assert failed["chat_id"] == 5


@pytest.mark.parametrize("how", ["close", "cut"])
async def test_closing_detaches_only(stand: Standing, user: Signed, how: str) -> None:
    with stand.gate_closed():
        async with opened(stand.server, "/ws", user) as socket:
            await socket.send(say(stand.prompt(HALF), "left"))
            token = (await socket.until("token"))[-1]
            await socket.close() if how == "close" else socket.cut()
        await soon(lambda: not stand.followers)
        stand.provider.release()
        await soon(lambda: stand.ended(token["task_id"])[0] == "completed")
    assert stand.ended(token["task_id"])[1] == "first second"


async def test_who_asks_more_than_may_wait_is_told_all_of_it(stand: Standing, user: Signed) -> None:
    """The bound is on what others asked."""
    async with opened(stand.server, "/ws", user) as socket:
        with stand.gate_closed():
            for number in range(70):
                await socket.send(say(stand.prompt(HALF), f"own-{number}"))
                await socket.until("token")
        frames = await socket.answers(70)
        assert {frame["message"]["content"] for frame in frames if is_end(frame)} == {
            "first second"
        }


@pytest.mark.parametrize(
    ("frame", "code", "says"),
    [
        ({}, "invalid_request", "action: is send_message or abort"),
        ({"action": "stop"}, "invalid_request", "action: is send_message or abort"),
        ({"type": "message", "content": "?"}, "invalid_request", "action: is send_message"),
        ({"action": "send_message"}, "invalid_request", "content: "),
        (say(""), "invalid_request", "content: "),
        (say(" "), "invalid_request", "empty"),
        (say("x" * 5001), "message_too_long", "5000"),
        (say("?", 1.5), "invalid_request", "chat_id: is a text, or an integer"),
        (say("?", 10**30), "invalid_request", "chat_id: is a text, or an integer"),
        (say("?", ["a"]), "invalid_request", "chat_id: is a text, or an integer"),
        (say("?", ""), "invalid_request", "chat_id: "),
        (say("?", "a b"), "invalid_request", "chat_id: is an id, or a name of"),
        (say("?", "x" * 129), "invalid_request", "chat_id: "),
        (say("?", "me"), "invalid_request", "chat_id: `me`"),
        (say("?", session_id="x"), "invalid_request", "session_id: is not a field of this frame"),
        (say("?", stream=False), "invalid_request", "stream: is not a field of this frame"),
        (say("?", model=5), "invalid_request", "model: "),
        (say("?", model="nobody's"), "unknown_model", "chat/test"),
        (say("?", params={"content": "?"}), "invalid_request", "params.content: is not a field"),
        ({"action": "abort"}, "invalid_request", "task_id: "),
        ({"action": "abort", "task_id": 5}, "invalid_request", "task_id: "),
        ({"action": "abort", "task_id": NOBODYS_ID}, "not_found", "no such generation"),
    ],
)
async def test_a_wrong_frame_is_told_and_the_socket_goes_on(
    stand: Standing, frame: Json, code: str, says: str
) -> None:
    async with opened(stand.server, "/ws", stand.user) as socket:
        await socket.send(frame)
        told = await socket.next()
        assert says in error(told, code)
        assert not told["retryable"]
        assert await socket.told() == []
