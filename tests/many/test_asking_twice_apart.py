"""The same question with the same key at several instances at once: one answer, and all read it."""

import asyncio
from collections.abc import Sequence
from typing import Final

import pytest

from asking_doors import ASKED_AT, Heard, asked_at
from provider import Answer
from several import Several

SETTINGS: Final = {"WEBSOCKET_FRAMES_PER_SECOND": "10000"}
pytestmark = pytest.mark.timeout(180)

PIECES: Final = ("Hello", " wor", "ld\n")
WHOLE: Final = "".join(PIECES)
AT_ONCE: Final = 20
ROUNDS: Final = 3


class Question:
    """A question with a key, in a session that has a name, which nobody else asks."""

    def __init__(self, three: Several, answer: Answer) -> None:
        self._three = three
        self.text = three.prompt(answer)
        self.name = self.text.replace(" ", "-")
        self.key = f"key of {self.name}"

    async def ask(self, number: int, door: str, text: str = "") -> Heard:
        side, user = self._three.sides[number], self._three.user
        return await asked_at(side, user, door, text or self.text, session=self.name, key=self.key)

    async def many(self, doors: Sequence[str]) -> list[Heard]:
        """At all the instances in turn, at once."""
        asking = [
            self.ask(place % len(self._three.sides), door) for place, door in enumerate(doors)
        ]
        return await asyncio.gather(*asking)

    def assert_one(self, heard: Sequence[Heard]) -> None:
        assert {one.refused for one in heard} == {None}, heard
        assert len({one.generation_id for one in heard}) == 1
        assert {(one.end, one.text) for one in heard} == {("end", WHOLE)}
        assert self._three.asks(self.text) == 1
        path = f"/api/chat/sessions/{self.name}/messages"
        found = self._three.call(0, "GET", path).json()["messages"]
        assert [message["content"] for message in found] == [self.text, WHOLE]


@pytest.mark.parametrize("door", ASKED_AT)
async def test_of_many_at_once_one_is_asked_and_all_are_answered(three: Several, door: str) -> None:
    three.provider.release()
    for _ in range(ROUNDS):
        question = Question(three, Answer(PIECES, delay=0.002))
        question.assert_one(await question.many([door] * AT_ONCE))


async def test_it_is_one_whatever_the_doors(three: Several) -> None:
    three.provider.release()
    for turn in range(ROUNDS):
        question = Question(three, Answer(PIECES, delay=0.002))
        doors = [ASKED_AT[(place + turn) % len(ASKED_AT)] for place in range(AT_ONCE)]
        question.assert_one(await question.many(doors))


async def test_in_mid_answer_all_join_from_its_beginning(three: Several) -> None:
    for first in ("ws session", "text", "ws user"):
        three.provider.hold()
        question = Question(three, Answer(PIECES, gate_after=2))
        asking = asyncio.create_task(question.ask(0, first))
        await asyncio.to_thread(three.provider.at_gate.wait_at_least, 1)
        joining = asyncio.create_task(question.many(ASKED_AT * 3))
        other = await question.ask(1, "json", three.prompt(Answer(["no"])))
        assert other.refused == "idempotency_conflict"
        three.provider.release()
        question.assert_one([await asking, *await joining])


async def test_after_the_end_every_instance_gives_the_first_answer(three: Several) -> None:
    three.provider.release()
    for place, first in enumerate(ASKED_AT):
        question = Question(three, Answer(PIECES))
        heard = [await question.ask(place % 3, first)]
        question.assert_one([*heard, *await question.many(ASKED_AT)])
