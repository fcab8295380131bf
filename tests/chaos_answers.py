"""What the provider says where everything breaks: each time that it is asked something else.

Every piece says which question it answers and at which try, so that a text tells who made it.
"""

import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from provider import BEFORE_HEADERS, Answer, Provider
from reading import cleaned

_FRAGMENTS: Final = (
    *("[DONE]", "\n[DONE]\n", "[DO", "NE]", "\n", "\n\n", "\r\n", " ", "\t", "\u2028", "\ufeff"),
    *("data: ", "\nid: 9-9\n", ":", "😀", "👩\u200d👧", "é", "漢字", '"', "\\", "word", " another"),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """How long an answer is, how fast it comes, and where it waits at the gate, if it does."""

    pieces: int
    delay: float
    gate_after: int | None


def some_plan(choice: random.Random, stage: str) -> Plan:
    """`stage`: where it will be when something breaks."""
    pieces = choice.randrange(20, 70)
    match stage:
        case "queued":
            gate = choice.choice((BEFORE_HEADERS, 0))
        case "middle":
            gate = choice.randrange(1, pieces)
        case "end":
            gate = choice.choice((pieces - 1, pieces))
        case _:
            gate = None
    return Plan(pieces, choice.choice((0.0, 0.005, 0.02)) if gate else 0.02, gate)


class Talk:
    """Answers the questions that it was told of; whatever else is asked, it answers shortly."""

    def __init__(self, provider: Provider, seed: int) -> None:
        self.provider = provider
        self._seed = seed
        self._plans: dict[str, Plan] = {}
        self._tries = Counter[str]()
        self._lock = threading.Lock()
        for model in ("test", "gated"):
            provider.answer(model, self._answer)

    def expect(self, prompt: str, plan: Plan) -> None:
        with self._lock:
            self._plans[prompt] = plan

    def tries(self, prompt: str) -> int:
        """How often it was asked so far."""
        with self._lock:
            return self._tries[prompt]

    def tries_of(self, prompt: str, text: str) -> list[int] | None:
        """At which tries a text was said, one behind the other, each from its beginning; None if it
        was not said so.
        """
        # Where the text may be cut, with the tries of what is before.
        ways: dict[int, list[int]] = {0: []}
        for number in range(1, self.tries(prompt) + 1):
            whole = self.whole(prompt, number)
            for place, before in tuple(ways.items()):
                for length in range(1, _common(text, place, whole) + 1):
                    ways.setdefault(place + length, [*before, number])
        return ways.get(len(text))

    def whole(self, prompt: str, number: int) -> str:
        return cleaned(self._pieces(prompt, number))

    def _pieces(self, prompt: str, number: int) -> list[str]:
        choice = random.Random(f"{self._seed} {prompt} {number}")
        return [
            "".join(choice.choices(_FRAGMENTS, k=choice.randrange(4))) + f"<{prompt}:{number}:{at}>"
            for at in range(self._plans[prompt].pieces)
        ]

    def _answer(self, ask: dict[str, Any]) -> Answer:
        # What an answer is to go on with stands behind its question.
        [*_, prompt] = [each["content"] for each in ask["messages"] if each["role"] == "user"]
        with self._lock:
            plan = self._plans.get(prompt)
            if plan is None:
                return Answer()
            self._tries[prompt] += 1
            number = self._tries[prompt]
        pieces = self._pieces(prompt, number)
        return Answer(pieces, delay=plan.delay, gate_after=plan.gate_after)


def _common(text: str, place: int, whole: str) -> int:
    """How much of the whole stands in a text at a place."""
    length = 0
    for ours, theirs in zip(text[place:], whole, strict=False):
        if ours != theirs:
            break
        length += 1
    return length
