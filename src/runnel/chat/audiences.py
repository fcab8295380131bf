"""Who follows the answers that are to be aborted once nobody does."""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

#: A client that polls is there between its polls, for so many seconds.
POLL_LINGER_SECONDS: Final = 35.0
#: Who was sent away by the server counts as there till somebody comes, and goes by itself.
_DISMISSED_SECONDS: Final = 86_400.0


class _Audience:
    __slots__ = ("gone_at", "lingering_until", "needed", "readers", "shared")

    def __init__(self) -> None:
        self.needed = False
        self.readers = 0
        self.shared = False  # other instances are to know of its readers
        self.gone_at: float | None = None
        self.lingering_until = 0.0


class Audiences:
    """Counts the readers of answers; of those that need some, knows since when there are none."""

    def __init__(
        self, *, grace_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._grace_seconds = grace_seconds
        self._clock = clock
        # Of the answers that have readers or need some: a question that was sent twice may have
        # a reader before it is known that its answer needs one.
        self._audiences: dict[str, _Audience] = {}
        self._left: dict[str, float] = {}
        self.changed = asyncio.Event()

    def shared(self) -> Collection[str]:
        """What has readers that other instances are to know of."""
        return [
            generation_id
            for generation_id, audience in self._audiences.items()
            if audience.shared and audience.readers
        ]

    def take_left(self) -> Mapping[str, float]:
        """What has no reader any more since this was asked before; for how many seconds it counts
        as having one yet.
        """
        left, self._left = self._left, {}
        return left

    def expect(self, generation_id: str) -> None:
        """From now on somebody has to come, and to stay."""
        audience = self._audiences.setdefault(generation_id, _Audience())
        audience.needed = True
        if not audience.readers:
            audience.gone_at = self._clock()

    def forget(self, generation_id: str) -> None:
        """The answer has ended, or somebody wants it whoever reads."""
        audience = self._audiences.get(generation_id)
        if audience is not None:
            audience.needed = False
            self._tidy(generation_id, audience)

    def enter(self, generation_id: str, *, shared: bool = False) -> None:
        """`shared`: the answer needs a reader, and may be made by another instance."""
        audience = self._audiences.setdefault(generation_id, _Audience())
        audience.readers += 1
        audience.gone_at = None
        if shared:
            audience.shared = True
            self._left.pop(generation_id, None)
            self.changed.set()

    def leave(self, generation_id: str, *, linger_seconds: float = 0.0) -> None:
        """A reader has gone by itself; it counts as there for a while yet, if it lingers."""
        audience = self._audiences[generation_id]
        # One that polls is there still, though another came and went after it.
        until = max(audience.lingering_until, self._clock() + linger_seconds)
        audience.lingering_until = until
        audience.readers -= 1
        if not audience.readers:
            audience.gone_at = until
            self._tell(generation_id, audience, until - self._clock())
        self._tidy(generation_id, audience)

    def dismiss(self, generation_id: str) -> None:
        """A reader was sent away by the server, which is no sign that nobody wants the answer."""
        audience = self._audiences[generation_id]
        audience.readers -= 1
        if not audience.readers:
            self._tell(generation_id, audience, _DISMISSED_SECONDS)
        self._tidy(generation_id, audience)

    def _tell(self, generation_id: str, audience: _Audience, seconds: float) -> None:
        if audience.shared:
            self._left[generation_id] = seconds
            self.changed.set()

    def deserted(self) -> list[str]:
        """The answers that nobody has followed for the grace."""
        latest = self._clock() - self._grace_seconds
        return [
            generation_id
            for generation_id, audience in self._audiences.items()
            if audience.needed and audience.gone_at is not None and audience.gone_at <= latest
        ]

    def _tidy(self, generation_id: str, audience: _Audience) -> None:
        if not (audience.needed or audience.readers):
            del self._audiences[generation_id]
