"""What everybody's answers took and how they ended, over time and by model, for who runs the server."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

#: How long a stretch of time is, that is counted as one.
Stretch = Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Spell:
    """What was asked in one stretch of time, by when it begins (UTC). `errors`: the failed by their
    code. The times are means, in milliseconds; None where nothing was measured.
    """

    begins: datetime
    generations: int = 0
    failed: int = 0
    errors: Mapping[str, int] = field(default_factory=dict[str, int])
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    first_token_ms: float | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class ModelEnds:
    """How the answers of one model ended. The times are percentiles of those to the first token."""

    model: str
    generations: int
    failed: int
    errors: Mapping[str, int]
    first_token_ms_p50: int | None
    first_token_ms_p95: int | None


class Overviews(Protocol):
    """Counts generations that have ended, for when they were asked for. Each call is one short
    transaction that only reads. Raises RunnelError `store_unavailable`.
    """

    async def spells(
        self, first: datetime, last: datetime, by: Stretch, model: str | None
    ) -> Sequence[Spell]:
        """Those in which something was asked from `first` to `last`, both included, in order.

        What was purged since counts on by day; of which hour it was, nobody knows any more.
        """
        ...

    async def models(self, since: datetime) -> Sequence[ModelEnds]:
        """Of each model that was asked since then: the alias that has answered, or failed last."""
        ...
