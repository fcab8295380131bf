"""Whether Redis answers, told once when that changes."""

import asyncio

import structlog
from redis.exceptions import ConnectionError  # noqa: A004 - Redis' own, of broken connections

from runnel.errors import Code, RunnelError

_log = structlog.stdlib.get_logger()


class Presence:
    """What the connections of one instance have found. `doubt` is set to have it looked at now."""

    def __init__(self) -> None:
        self.away = False
        self.doubt = asyncio.Event()

    def lost(self, error: BaseException, *, again: bool) -> None:
        """A connection that breaks once may have been an old one: it says nothing of Redis."""
        if not self.away and (again or not isinstance(error, ConnectionError)):
            self.away = True
            # Redis' own errors and the network's name no password.
            _log.warning("streams.away", reason=f"{type(error).__name__}: {error}")

    def back(self) -> None:
        if self.away:
            self.away = False
            _log.info("streams.back")

    def check(self) -> None:
        """Raises RunnelError `stream_unavailable` while it is away."""
        if self.away:
            raise RunnelError(
                Code.STREAM_UNAVAILABLE,
                "Answers cannot be streamed now. Ask again shortly.",
                retry_after=1,
            )
