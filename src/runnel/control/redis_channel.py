"""One channel of Redis' Pub/Sub, in which instances talk. It loses what it must, and never stops."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import structlog

from runnel.control.redis_client import FAULTS, RedisClient

_log = structlog.stdlib.get_logger()
#: What waits to be said while Redis is away; beyond it the oldest goes.
_MOST_WAITING: Final = 10_000
_MOST_WAITING_BYTES: Final = 8 * 1024 * 1024
_BATCH: Final = 500
_PING_SECONDS: Final = 1.0
_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0


class RedisChannel:
    """What is said in it reaches whoever listens, on every instance, this one included."""

    def __init__(self, client: RedisClient, name: str, *, timeout_seconds: float) -> None:
        self.listening = asyncio.Event()
        self._client = client
        self._name = name
        self._timeout_seconds = timeout_seconds
        self._waiting = deque[bytes]()
        self._waiting_bytes = 0
        self._some_wait = asyncio.Event()
        self._all_said = asyncio.Event()
        self._all_said.set()
        self._losing = False

    def say(self, message: bytes) -> None:
        """Returns at once, and never raises."""
        self._waiting.append(message)
        self._waiting_bytes += len(message)
        while len(self._waiting) > _MOST_WAITING or self._waiting_bytes > _MOST_WAITING_BYTES:
            self._waiting_bytes -= len(self._waiting.popleft())
            if not self._losing:
                self._losing = True
                _log.warning("control.notices_lost")
        self._some_wait.set()
        self._all_said.clear()

    async def flush(self, seconds: float) -> None:
        """Until all is said, but not for longer than that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._all_said.wait()

    async def talk(self) -> NoReturn:
        """Says what was given to be said, until it is cancelled."""
        pauses = _Pauses()
        batch: Sequence[bytes] = ()
        while True:
            if not batch:
                await self._some_wait.wait()
                batch = self._take()
            try:
                await self._publish(batch)
            except FAULTS:
                await pauses.next()
            except Exception:  # noqa: BLE001 - the outermost frame: the next batch must go out
                _log.exception("control.talk_failed")
                batch = ()
                await pauses.next()
            else:
                batch, self._losing = (), False
                pauses.reset()
                if not self._waiting:
                    self._all_said.set()

    async def listen(self, hear: Callable[[bytes], None]) -> NoReturn:
        """Gives `hear` whatever is said, until it is cancelled. A fault costs what is said meanwhile."""
        pauses = _Pauses()
        while True:
            try:
                await self._listen(hear, pauses)
            except FAULTS as error:
                if self.listening.is_set():
                    _log.warning("control.away", why=str(error) or type(error).__name__)
            except Exception:  # noqa: BLE001 - the outermost frame: it must listen again
                _log.exception("control.listen_failed")
            self.listening.clear()
            await pauses.next()

    async def _listen(self, hear: Callable[[bytes], None], pauses: "_Pauses") -> None:
        loop = asyncio.get_running_loop()
        ping_seconds = min(_PING_SECONDS, self._timeout_seconds / 4)
        async with self._client.pubsub() as subscription:
            # A frozen Redis takes connections, and says nothing.
            async with asyncio.timeout(self._timeout_seconds):
                await subscription.subscribe(self._name)
            heard_at = loop.time()
            while loop.time() - heard_at < self._timeout_seconds:
                # What fails connects again, which may hang.
                async with asyncio.timeout(self._timeout_seconds):
                    message: dict[str, Any] | None = await subscription.get_message(
                        timeout=ping_seconds
                    )
                    if message is None:
                        await subscription.ping()
                        continue
                heard_at = loop.time()
                if message["type"] == "message":
                    hear(message["data"])
                elif message["type"] == "subscribe":
                    self.listening.set()
                    pauses.reset()
        raise TimeoutError("Redis says nothing")

    def _take(self) -> Sequence[bytes]:
        batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
        self._waiting_bytes -= sum(map(len, batch))
        if not self._waiting:
            self._some_wait.clear()
        return batch

    async def _publish(self, batch: Sequence[bytes]) -> None:
        async with asyncio.timeout(self._timeout_seconds):
            async with self._client.pipeline(transaction=False) as pipeline:
                for message in batch:
                    pipeline.publish(self._name, message)
                await pipeline.execute()


class _Pauses:
    """Between tries, longer and longer."""

    def __init__(self) -> None:
        self._seconds = _FIRST_PAUSE_SECONDS

    async def next(self) -> None:
        await asyncio.sleep(self._seconds)
        self._seconds = min(self._seconds * 2, _LONGEST_PAUSE_SECONDS)

    def reset(self) -> None:
        self._seconds = _FIRST_PAUSE_SECONDS
