"""When to ask a provider again that did not take the question, and when another in its place."""

import random
from dataclasses import dataclass
from typing import Final

from runnel.errors import Code, RunnelError

#: Whatever the fault's details: it is the provider's, and another may do better.
_PROVIDERS_OWN: Final = frozenset(
    {Code.UPSTREAM_RATE_LIMITED, Code.UPSTREAM_TIMEOUT, Code.UPSTREAM_INCOMPLETE}
)
_FIRST_PAUSE: Final = 0.25
_SPREAD: Final = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class Retries:
    """How often at most, and how long trying may take in all, in seconds.

    It has to stay short: whoever asks waits meanwhile for the fault that they could act on.
    """

    most: int
    within_seconds: float

    def pause(self, number: int, *, elapsed: float, retry_after: float | None) -> float | None:
        """Seconds until try `number` (from 1) may be made again; None if it is no use.

        Each pause is twice the one before, spread, so that not all come back at once; never
        shorter than what the provider asked for.
        """
        if number > self.most:
            return None
        pause = _FIRST_PAUSE * 2 ** (number - 1) * random.uniform(*_SPREAD)  # noqa: S311 - a spread, no secret
        pause += retry_after or 0.0
        return pause if elapsed + pause <= self.within_seconds else None


def worth_another(error: RunnelError) -> bool:
    """Whether another model may answer what this one did not: not what it refused as wrong."""
    return error.code in _PROVIDERS_OWN or (error.code is Code.UPSTREAM_ERROR and error.retryable)
