"""A database with many messages: words by Zipf's law, one in ten of them accented."""  # noqa: INP001 - of programs

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

from answers import Chat
from runnel.accounts.passwords import random_password
from runnel.chat.entities import Ask, Ending, SessionRef, Status, Turn
from runnel.events import Position, Usage
from runnel.store.accounts import SqlAccountStore
from runnel.store.ids import now

MESSAGES_A_SESSION: Final = 20
#: Words of a question and of an answer, in the middle.
QUESTION: Final = 25
ANSWER: Final = 180
_SYLLABLES: Final = [first + second for first in "bcdfghjklmnprstvz" for second in "aeiouáê"]


class Speech:
    """Texts at random, the same for the same seed."""

    def __init__(self, seed: int = 1, vocabulary: int = 50_000) -> None:
        self._random = random.Random(seed)  # noqa: S311 - no secret
        made: dict[str, None] = {}
        while len(made) < vocabulary:
            made["".join(self._random.choices(_SYLLABLES, k=self._random.randint(1, 4)))] = None
        #: The most frequent first.
        self.words = sorted(made, key=len)
        self._weights = list(accumulate(1 / (rank + 3) for rank in range(vocabulary)))

    def text(self, middle: int) -> str:
        """Its length in words is log-normal around the middle."""
        count = max(1, int(self._random.lognormvariate(0, 0.8) * middle))
        return " ".join(self._random.choices(self.words, cum_weights=self._weights, k=count)) + "."


async def people(chat: Chat, number: int) -> list[str]:
    """The ids of new users."""
    accounts = SqlAccountStore(chat.database)
    password = random_password()
    made = [
        await accounts.add_user(f"user{each}", password, "user", now()) for each in range(number)
    ]
    return [user.id for user in made if user is not None]


async def fill(chat: Chat, users: Sequence[str], sessions: int, speech: Speech) -> None:
    """So many sessions of each user, written as questions and answers are."""
    for number in range(sessions):
        for user_id in users:
            turns = [
                Turn("assistant", speech.text(ANSWER))
                if each % 2
                else Turn("user", speech.text(QUESTION))
                for each in range(MESSAGES_A_SESSION - 1)
            ]
            await talk(chat, user_id, f"s{number}", turns, speech.text(ANSWER))


async def talk(chat: Chat, user_id: str, name: str, turns: Sequence[Turn], answer: str) -> None:
    """The last turn is a question, which is answered so."""
    *history, question = turns
    ask = Ask(user_id, question.text, SessionRef(name=name), history or None)
    begun = await chat.begin(ask)
    ending = Ending(
        status=Status.COMPLETED,
        text=answer,
        position=Position(1, 1),
        usage=Usage(1, 1, "estimated"),
        finish_reason="stop",
    )
    await chat.store.finish(begun.generation.id, 1, ending)
