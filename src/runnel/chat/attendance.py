"""Who follows answers that need a reader, on whatever instance."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Final, NoReturn, Protocol

import structlog

from runnel.chat.audiences import Audiences
from runnel.errors import RunnelError

_log = structlog.stdlib.get_logger()
#: How often an instance tells whom it has.
_TELL_SECONDS: Final = 2.0
#: For so long after it was told a reader counts as there: two times may be missed.
THERE_SECONDS: Final = 6.0


class Presence(Protocol):
    """What instances tell each other of readers. Raises RunnelError `stream_unavailable`."""

    async def tell(self, there: Mapping[str, float]) -> None:
        """On this instance answers have readers, and count as having some for so many seconds."""
        ...

    async def seconds_left(self, generation_ids: Collection[str]) -> Mapping[str, float]:
        """For how long answers count as having a reader somewhere yet; less than none: so long
        ago that was. What nobody has told of is left out.
        """
        ...


class Attendance:
    """Tells others who is here, and asks them before nobody is thought to be there."""

    def __init__(self, audiences: Audiences, presence: Presence, *, grace_seconds: float) -> None:
        self._audiences = audiences
        self._presence = presence
        self._grace_seconds = grace_seconds

    async def watch(self) -> NoReturn:
        """Tells whenever somebody comes or goes, and again and again, until it is cancelled."""
        while True:
            try:
                async with asyncio.timeout(_TELL_SECONDS):
                    await self._audiences.changed.wait()
            except TimeoutError:
                pass
            self._audiences.changed.clear()
            left = self._audiences.take_left()
            there = {**left, **dict.fromkeys(self._audiences.shared(), THERE_SECONDS)}
            if not there:
                continue
            try:
                await self._presence.tell(there)
            except RunnelError:
                # Who is there is told again; who has gone counts as gone when its time is over.
                await asyncio.sleep(_TELL_SECONDS)
            except Exception:  # noqa: BLE001 - the outermost frame: the next round must come
                _log.exception("readers.not_told")

    async def deserted(self) -> Collection[str]:
        """Of the answers that are made here those that nobody has followed for the grace, on any
        instance; none while it cannot be known.
        """
        here = self._audiences.deserted()
        if not here:
            return ()
        try:
            left = await self._presence.seconds_left(here)
        except RunnelError:
            return ()
        return [
            each for each in here if left.get(each, -self._grace_seconds) <= -self._grace_seconds
        ]
