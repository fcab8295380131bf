"""One budget of questions a user, whichever door they come by."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from itertools import count
from typing import Final

import pytest

from asking_doors import ASKED_AT, Heard, asked_at, heard_at
from provider import Answer
from runnel.edge.limits import WindowMemory
from serving import Signed
from socket_doors import SOCKETS, path_at, question_at
from sockets import Socket, opened
from standing import Json, Standing
from wire import NOBODYS_ID, query

pytestmark = pytest.mark.usefixtures("tidy")

LIMIT: Final = 30
SETTINGS: Final = {"rate_limit_messages_per_minute": LIMIT}
_numbers = count(1)


@pytest.fixture
def bea(stand: Standing) -> Signed:
    """A user whose budget is whole."""
    stand.provider.release()
    return stand.server.user(f"bea{next(_numbers)}")


async def ask(stand: Standing, who: Signed, door: str, key: str = "") -> Heard:
    prompt = stand.prompt(Answer(["."]))
    session = prompt.replace(" ", "-")
    return await asked_at(stand.server, who, door, prompt, session=session, key=key)


def used(stand: Standing, who: Signed) -> int:
    return stand.client.get("/me", headers=who.headers).json()["limits"]["used"]


def assert_limited(heard: Heard) -> None:
    assert heard.refused == "rate_limited", heard
    assert heard.generation_id == ""
    if heard.status:
        assert heard.status == 429
    else:
        assert heard.told["retryable"] is True
        assert 1 <= heard.told["retry_after"] <= 60


def let_a_minute_pass(stand: Standing) -> None:
    """All windows are empty again."""

    async def empty() -> None:
        memory = stand.server.server.parts.limiter.windows.storage
        assert isinstance(memory, WindowMemory)
        memory.events.clear()

    stand.server.call(empty())


async def test_the_31st_question_is_refused_at_every_door(stand: Standing, bea: Signed) -> None:
    for number in range(LIMIT):
        heard = await ask(stand, bea, ASKED_AT[number % len(ASKED_AT)])
        assert heard.end == "end", heard
        assert used(stand, bea) == number + 1
    for door in ASKED_AT:
        assert_limited(await ask(stand, bea, door))
    assert used(stand, bea) == LIMIT
    other = stand.server.user(f"{bea.username}-other")
    assert (await ask(stand, other, "ws user")).end == "end"


@pytest.mark.parametrize("door", SOCKETS)
async def test_thirty_over_http_leave_none_for_an_open_socket_and_the_other_way_round(
    stand: Standing, bea: Signed, door: str
) -> None:
    async def ask_here() -> Heard:
        prompt = stand.prompt(Answer(["."]))
        await socket.send(question_at(door, prompt))
        return await heard_at(socket, prompt)

    async with opened(stand.server, path_at(door, "limited"), bea) as socket:
        answers = await asyncio.gather(*(ask(stand, bea, "json") for _ in range(LIMIT)))
        assert {heard.end for heard in answers} == {"end"}
        for _ in range(2):
            assert_limited(await ask_here())
        let_a_minute_pass(stand)
        # The socket has stayed open, and asks again.
        for _ in range(LIMIT):
            assert (await ask_here()).end == "end"
        for other in ASKED_AT:
            assert_limited(await ask(stand, bea, other))


async def test_of_sixty_at_once_by_all_doors_thirty_are_answered(
    stand: Standing, bea: Signed
) -> None:
    doors = ASKED_AT * (2 * LIMIT // len(ASKED_AT))
    async with AsyncExitStack() as stack:
        # More than 20 sockets of one user are too many.
        sockets = [
            (door, await stack.enter_async_context(opened(stand.server, path_at(door, name), bea)))
            for name in ("one", "two", "three")
            for door in SOCKETS
        ]

        async def ask_one_by_one(door: str, socket: Socket) -> list[Heard]:
            heard: list[Heard] = []
            for _ in range(doors.count(door) // 3):
                prompt = stand.prompt(Answer(["."]))
                await socket.send(question_at(door, prompt))
                heard.append(await heard_at(socket, prompt))
            return heard

        over_http = asyncio.gather(
            *(ask(stand, bea, door) for door in doors if door not in SOCKETS)
        )
        here = await asyncio.gather(*(ask_one_by_one(*each) for each in sockets))
        heard = [*(await over_http), *(one for some in here for one in some)]
    assert Counter(one.end or one.refused for one in heard) == {
        "end": LIMIT,
        "rate_limited": len(heard) - LIMIT,
    }
    asked = "SELECT count(*) FROM generations g JOIN users u ON u.id = g.user_id WHERE u.name = ?"
    assert query(stand.server, asked, bea.username) == [(LIMIT,)]


@pytest.mark.parametrize("door", ASKED_AT)
async def test_the_limit_comes_before_the_key_and_uses_up_none(
    stand: Standing, bea: Signed, door: str
) -> None:
    first = await ask(stand, bea, door, key="first")
    for _ in range(LIMIT - 1):
        await ask(stand, bea, "json")
    asked_again = await asked_at(
        stand.server, bea, door, _question_of(stand, first), session="else", key="first"
    )
    assert_limited(asked_again)  # though it would be a conflict
    assert_limited(await ask(stand, bea, door, key="second"))
    let_a_minute_pass(stand)
    heard = await ask(stand, bea, door, key="second")
    assert (heard.end, heard.text) == ("end", ".")


def _question_of(stand: Standing, heard: Heard) -> str:
    sql = (
        "SELECT content FROM messages m JOIN generations g ON m.id = user_message_id WHERE g.id = ?"
    )
    [[question]] = query(stand.server, sql, heard.generation_id)
    return question


@pytest.mark.parametrize("door", SOCKETS)
async def test_what_is_a_question_counts_be_it_wrong_and_nothing_else_does(
    stand: Standing, bea: Signed, door: str
) -> None:
    free: list[Json] = [
        {"type": "typing", "active": True},
        {"type": "resume", "generation_id": NOBODYS_ID},
        {"type": "abort", "generation_id": NOBODYS_ID},
        {"action": "abort", "task_id": NOBODYS_ID},
        {"type": "nothing"},
        {},
    ]
    wrong = [
        question_at(door, "?", model="nobody's"),
        question_at(door, " "),
        question_at(door, "?", colour="red"),
        question_at(door, "x" * 5001),
    ]
    async with opened(stand.server, path_at(door, "counted"), bea) as socket:
        for frame in free:
            await socket.send(frame)
        await socket.told()
        assert used(stand, bea) == 0
        for number, frame in enumerate(wrong, 1):
            await socket.send(frame)
            assert (await heard_at(socket)).refused != "rate_limited"
            assert used(stand, bea) == number
