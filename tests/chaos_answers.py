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
    pieces = choice.randrange(20, 90)
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
        provider.answer("test", self._answer)

    def expect(self, prompt: str, plan: Plan) -> None:
        with self._lock:
            self._plans[prompt] = plan

    def tries(self, prompt: str) -> int:
        """How often it was asked so far."""
        with self._lock:
            return self._tries[prompt]

    def try_of(self, prompt: str, text: str) -> int | None:
        """At which try a text was said, from its beginning; None if at none, 0 if nothing was."""
        if not text:
            return 0
        for number in range(1, self.tries(prompt) + 1):
            if self.whole(prompt, number).startswith(text):
                return number
        return None

    def whole(self, prompt: str, number: int) -> str:
        return cleaned(self._pieces(prompt, number))

    def _pieces(self, prompt: str, number: int) -> list[str]:
        choice = random.Random(f"{self._seed} {prompt} {number}")
        return [
            "".join(choice.choices(_FRAGMENTS, k=choice.randrange(4))) + f"<{prompt}:{number}:{at}>"
            for at in range(self._plans[prompt].pieces)
        ]

    def _answer(self, ask: dict[str, Any]) -> Answer:
        prompt = ask["messages"][-1]["content"]
        with self._lock:
            plan = self._plans.get(prompt)
            if plan is None:
                return Answer()
            self._tries[prompt] += 1
            number = self._tries[prompt]
        pieces = self._pieces(prompt, number)
        return Answer(pieces, delay=plan.delay, gate_after=plan.gate_after)
