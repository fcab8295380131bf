"""The same question with the same key, at whatever doors: one answer, joined from its beginning."""

import asyncio
from collections.abc import Sequence
from itertools import product
from typing import Final

import pytest

from asking_doors import ASKED_AT, Heard, asked_at, heard_at
from provider import Answer
from socket_doors import SOCKETS, path_at, question_at
from sockets import opened
from standing import Standing
from waiting import soon

pytestmark = pytest.mark.usefixtures("tidy")

PIECES: Final = ("Hello", " wor", "ld\n")
WHOLE: Final = "".join(PIECES)
IDS: Final = "SELECT id, session_id, message_id, user_message_id FROM generations WHERE id = "


class Question:
    """A question with a key, in a session that has a name, which nobody else asks."""

    def __init__(self, stand: Standing, answer: Answer) -> None:
        self.text = stand.prompt(answer)
        self.name = self.text.replace(" ", "-")
        self.key = f"key of {self.name}"
        self._stand = stand

    async def ask(self, door: str, *, text: str = "") -> Heard:
        stand = self._stand
        return await asked_at(
            stand.server, stand.user, door, text or self.text, session=self.name, key=self.key
        )

    async def many(self, doors: Sequence[str]) -> list[Heard]:
        return await asyncio.gather(*map(self.ask, doors))

    @property
    def generations(self) -> int:
        query = f"SELECT id FROM generations WHERE ask_key = '{self.key}'"  # noqa: S608 - ours
        return len(self._stand.rows(query))

    @property
    def asks(self) -> int:
        """How often the provider was asked."""
        asks = self._stand.provider.asks
        return [ask.body["messages"][-1]["content"] for ask in asks].count(self.text)


#: The others are in test_asking_twice.py.
PAIRS: Final = [pair for pair in product(ASKED_AT, ASKED_AT) if {*pair} & {*SOCKETS}]


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_after_the_end_every_door_gives_the_first_answer(
    stand: Standing, first: str, second: str
) -> None:
    stand.provider.release()
    question = Question(stand, Answer(PIECES))
    one, two = await question.ask(first), await question.ask(second)
    assert one.generation_id == two.generation_id
    assert (one.end, two.end, one.text, two.text) == ("end", "end", WHOLE, WHOLE)
    assert (question.generations, question.asks) == (1, 1)


async def test_while_it_runs_all_doors_join_from_its_beginning(stand: Standing) -> None:
    for first in SOCKETS:
        question = Question(stand, Answer(PIECES, gate_after=2))
        with stand.gate_closed():
            asking = asyncio.create_task(question.ask(first))
            await soon(lambda question=question: question.generations)
            joining = asyncio.create_task(question.many(ASKED_AT * 2))
            # Each of the users' channels hears of the answer, too: but only once.
            await soon(lambda: stand.followers == 1 + 2 * len(ASKED_AT))
        heard = [await asking, *await joining]
        assert {one.generation_id for one in heard} == {heard[0].generation_id}
        assert {(one.end, one.text) for one in heard} == {("end", WHOLE)}
        assert (question.generations, question.asks) == (1, 1)


async def test_of_many_at_once_one_is_asked_and_all_are_answered(stand: Standing) -> None:
    stand.provider.release()
    for _ in range(5):
        question = Question(stand, Answer(PIECES, delay=0.002))
        heard = await question.many(ASKED_AT * 2)
        assert len({one.generation_id for one in heard}) == 1
        assert {(one.end, one.text) for one in heard} == {("end", WHOLE)}
        assert (question.generations, question.asks) == (1, 1)


@pytest.mark.parametrize("door", SOCKETS)
async def test_sent_again_on_its_own_connection_it_is_told_from_its_beginning(
    stand: Standing, door: str
) -> None:
    question = Question(stand, Answer(PIECES, gate_after=2))
    frame = question_at(door, question.text, session=question.name, key=question.key)
    async with opened(stand.server, path_at(door, question.name), stand.user) as socket:
        with stand.gate_closed():
            await socket.send(frame)
            await soon(lambda: question.generations)
            for _ in range(3):
                await socket.send(frame)
            # Whether it begins anew before the answer to the ping, or behind it, is its own affair.
            told = await socket.told()
        heard = await heard_at(socket, before=told)
        assert (heard.end, heard.text) == ("end", WHOLE)
        # After the end, too, and each time there is one end.
        await socket.send(frame)
        again = await heard_at(socket)
        assert (again.end, again.text, again.generation_id) == ("end", WHOLE, heard.generation_id)
        assert await socket.told() == []
    assert (question.generations, question.asks) == (1, 1)


FAILING: Final = {
    "refused": Answer(status=429, headers={"retry-after": "7"}),
    "cut": Answer(PIECES, cut_after=2),
}


@pytest.mark.parametrize("name", FAILING)
async def test_what_failed_fails_again_in_the_same_words(stand: Standing, name: str) -> None:
    question = Question(stand, FAILING[name])
    heard = [await question.ask(door) for door in (*SOCKETS, *ASKED_AT)]
    said = {(one.end, one.text, one.told["code"], one.told["message"]) for one in heard}
    assert len(said) == 1, said
    assert {one.generation_id for one in heard} == {heard[0].generation_id}
    assert {one.told["retryable"] for one in heard if "retryable" in one.told} == {True}
    assert (question.generations, question.asks) == (1, 1)


@pytest.mark.parametrize("door", ASKED_AT)
async def test_another_question_with_the_key_is_a_conflict(stand: Standing, door: str) -> None:
    stand.provider.release()
    for first in ("json", *SOCKETS):
        question = Question(stand, Answer(PIECES))
        await question.ask(first)
        refused = await question.ask(door, text=stand.prompt(Answer()))
        assert refused.refused == "idempotency_conflict", refused
        assert refused.told.get("retryable", False) is False
        assert refused.told.get("client_message_id", question.key) == question.key
        assert question.generations == 1


@pytest.mark.parametrize("door", ASKED_AT)
async def test_a_refused_question_uses_up_no_key(stand: Standing, door: str) -> None:
    question = Question(stand, Answer(PIECES))
    with stand.gate_closed():
        gated = stand.prompt(Answer(gate_after=0))
        body = {"message": gated, "session_id": question.name, "background": True}
        running = stand.client.post("/chat", json=body).json()["generation_id"]
        busy = await question.ask(door)
        assert (busy.refused, busy.told["generation_id"]) == ("busy", running)
        long = await question.ask(door, text="x" * 5001)
        assert long.refused == "message_too_long"
        assert (await question.ask(door, text=" ")).refused == "invalid_request"
        assert question.generations == 0
    await soon(lambda: not stand.left_live())
    heard = await question.ask(door)
    assert (heard.end, heard.text, question.asks) == ("end", WHOLE, 1)


@pytest.mark.parametrize("door", ASKED_AT)
async def test_the_key_is_looked_at_before_the_session_is_busy(stand: Standing, door: str) -> None:
    question = Question(stand, Answer(PIECES, gate_after=1))
    with stand.gate_closed():
        first = asyncio.create_task(question.ask("ws session"))
        await soon(lambda: question.generations)
        other = await question.ask(door, text=stand.prompt(Answer()))
        assert other.refused == "idempotency_conflict"
        again = asyncio.create_task(question.ask(door))
        await soon(lambda: stand.followers == 2)
    assert (await again).generation_id == (await first).generation_id


async def test_a_session_by_its_id_is_the_one_by_its_name(stand: Standing) -> None:
    """Who reconnects with the id that `connected` told, and sends again, asks the same."""
    stand.provider.release()
    question = Question(stand, Answer(PIECES))
    frame = question_at("ws session", question.text, key=question.key)
    async with opened(stand.server, path_at("ws session", question.name), stand.user) as socket:
        session_id = (await socket.next())["session_id"]
        await socket.send(frame)
        first = await heard_at(socket)
    async with opened(stand.server, path_at("ws session", session_id), stand.user) as socket:
        await socket.send(frame)
        again = await heard_at(socket)
    assert (again.refused, again.generation_id) == (None, first.generation_id)
