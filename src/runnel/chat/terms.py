"""How an alias is to be asked, beyond who serves it: what models.json says of it."""

from dataclasses import dataclass, replace
from typing import Final

from runnel.events import Usage

_PER: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a million tokens cost, in and out, in whatever the operator counts in."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        spent = usage.prompt_tokens * self.input + usage.completion_tokens * self.output
        return spent / _PER


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for every question to an alias.

    `takes` names the params that its provider honours. `timeout_seconds` is for the first token
    and between tokens, in place of the server's own bounds. `prefill`: shown the beginning of its
    answer as the last turn, it goes on with that.
    """

    takes: frozenset[str]
    context_tokens: int
    system_prompt: str | None = None
    timeout_seconds: float | None = None
    price: Price | None = None
    prefill: bool = False

    def priced(self, usage: Usage) -> Usage:
        """The usage with its cost, if there is a price."""
        return usage if self.price is None else replace(usage, cost=self.price.of(usage))


def together(first: Usage | None, second: Usage) -> Usage:
    """What two tries at one answer took. Counted by providers only if both were."""
    if first is None:
        return second
    costs = [usage.cost for usage in (first, second) if usage.cost is not None]
    both = first.source == second.source == "provider"
    return Usage(
        first.prompt_tokens + second.prompt_tokens,
        first.completion_tokens + second.completion_tokens,
        "provider" if both else "estimated",
        sum(costs) if costs else None,
    )
