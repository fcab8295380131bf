"""What is counted of answers afterwards, for their users and for whoever runs the server."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What one user's answers by one model took on one day. `cost` is None without a price."""

    day: date
    model: str
    provider: str
    generations: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


@dataclass(frozen=True, slots=True)
class Ends:
    """How many generations ended, and how many of them failed or were interrupted."""

    generations: int
    failed: int


@dataclass(frozen=True, slots=True)
class SessionEnds:
    """The ends in one session."""

    session_id: str
    user_id: str
    ends: Ends


class Reports(Protocol):
    """Counts what the store keeps. Every call is one short transaction that only reads.

    Generations count once they have ended, for when they were asked for; what those took that
    were purged since counts on in `usage`. Raises RunnelError
    `store_unavailable`.
    """

    async def usage(self, user_id: str, first: date, last: date) -> Sequence[DayUsage]:
        """By day (UTC) from first to last, both included, and by model; the newest day first."""
        ...

    async def ends(self, since: datetime) -> Ends:
        """Of everybody's generations."""
        ...

    async def failing_sessions(self, since: datetime, most: int) -> Sequence[SessionEnds]:
        """The sessions with failures, those with most of them first; none that is hidden."""
        ...

    async def usernames(self, user_ids: Collection[str]) -> Mapping[str, str]:
        """The names of users by their ids; who is gone is left out."""
        ...
