"""Whether Redis answers: who counts in it asks here, and counts by itself while it does not."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, NoReturn, TypeVar

import structlog

from runnel.control.redis_client import FAULTS, RedisClient
from runnel.errors import Code, RunnelError

_log = structlog.stdlib.get_logger()
_T = TypeVar("_T")
_LOOK_SECONDS: Final = 1.0
#: A timer that comes so late says that the loop was held: of the time that a call may take.
_HELD: Final = 0.1
#: So often the time of a call begins anew: a loop that is held for ever is no excuse.
_MOST_ANEW: Final = 3


class AwayError(Exception):
    """Redis does not answer."""


class Reach:
    """Nobody waits for a Redis that is known to be away: one task looks whether it is back."""

    def __init__(self, client: RedisClient, *, timeout_seconds: float) -> None:
        self._client = client
        self._timeout_seconds = timeout_seconds
        self._away = asyncio.Event()

    async def ask(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """What the call answers. Raises AwayError: at once, or when its time is over."""
        if self._away.is_set():
            raise AwayError
        try:
            async with _listening(self._timeout_seconds):
                return await call()
        except FAULTS as error:
            if not self._away.is_set():
                self._away.set()
                _log.warning("redis.away", why=str(error) or type(error).__name__)
            raise AwayError from None

    def check(self) -> None:
        """Raises RunnelError `stream_unavailable` while it is known to be away."""
        if self._away.is_set():
            raise away()

    async def watch(self) -> NoReturn:
        """Looks again while it is away, until cancelled."""
        while True:
            await self._away.wait()
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                async with _listening(self._timeout_seconds):
                    await self._client.ping()
            except FAULTS:
                continue
            self._away.clear()
            _log.info("redis.back")


class _listening:  # noqa: N801 - reads as a statement
    """As asyncio.timeout, but while the loop was held nobody could read what Redis has answered:
    behind that the time begins anew. A process that starts holds it for as long as a call may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._bound = asyncio.timeout(None)
        self._anew = 0

    async def __aenter__(self) -> None:
        await self._bound.__aenter__()
        self._begin()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        await self._bound.__aexit__(kind, error, traceback)

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._due = loop.time() + self._seconds
        self._timer = loop.call_at(self._due, self._end)

    def _end(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._due > self._seconds * _HELD and self._anew < _MOST_ANEW:
            self._anew += 1
            self._begin()
        else:
            self._bound.reschedule(now)


def away() -> RunnelError:
    return RunnelError(
        Code.STREAM_UNAVAILABLE, "Redis is not available. Try again shortly.", retry_after=1
    )
