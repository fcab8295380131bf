"""What other instances write: one loop that asks Redis for the news of many logs in one call."""

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any, Final

from runnel.events import Position
from runnel.streamlog.redis_codec import decoded
from runnel.streamlog.redis_keys import Keys
from runnel.streamlog.redis_link import AWAY, Link, pauses
from runnel.streamlog.redis_looking import Looking
from runnel.streamlog.redis_mirror import Mirror

#: So many batches of each log a call brings.
_AT_ONCE: Final = 100
#: How long a call waits for news.
_BLOCK_SECONDS: Final = 5
_START: Final = "0-0"


class Following:
    """Asks for all mirrors that are followed, by their generation.

    When others come to be followed, a Stream that is asked for in every call wakes it. Its last
    entry is known before the call, so that no change comes too early to be seen.
    """

    def __init__(
        self, link: Link, keys: Keys, looking: Looking, mirrors: Mapping[str, Mirror]
    ) -> None:
        self._link = link
        self._keys = keys
        self._looking = looking
        self._mirrors = mirrors
        self._wake_key = keys.wake(secrets.token_hex(8))
        self._woken: bytes | str = _START  # the last entry of it that is known
        self._news = asyncio.Event()
        self._asleep = False  # whether a call waits that nobody has woken
        self._waking: set[asyncio.Task[None]] = set()

    def changed(self) -> None:
        """One more is to be followed."""
        self._news.set()
        if self._asleep:
            self._asleep = False
            waking = asyncio.create_task(self._wake())
            self._waking.add(waking)
            waking.add_done_callback(self._waking.discard)

    async def run(self) -> None:
        """Until it is cancelled."""
        again = pauses()
        while True:
            self._news.clear()
            followed = self._followed()
            if not followed:
                await self._news.wait()
                continue
            try:
                answer = await self._ask(followed)
            except AWAY:
                # Nobody knows what has become of it meanwhile.
                for mirror in followed.values():
                    if not mirror.written:
                        mirror.forget()
                self._woken = _START
                await asyncio.sleep(next(again))
            else:
                again = pauses()
                self._deliver(answer)

    async def close(self) -> None:
        for waking in tuple(self._waking):
            waking.cancel()
        await asyncio.gather(*self._waking, return_exceptions=True)

    def _followed(self) -> dict[bytes, Mirror]:
        return {
            self._keys.log(generation_id).encode(): mirror
            for generation_id, mirror in self._mirrors.items()
            if mirror.known and mirror.followed and not mirror.written
        }

    async def _ask(self, followed: Mapping[bytes, Mirror]) -> Any:
        self._asleep = True
        try:
            return await self._link.call(
                *("XREAD", "COUNT", _AT_ONCE, "BLOCK", _BLOCK_SECONDS * 1000, "STREAMS"),
                *(self._wake_key, *followed),
                *(self._woken, *(_id_of(mirror.last) for mirror in followed.values())),
                patience_seconds=_BLOCK_SECONDS,
            )
        finally:
            self._asleep = False

    def _deliver(self, answer: Any) -> None:
        wake = self._wake_key.encode()
        begin = len(self._keys.log(""))
        for key, entries in answer or ():
            if key == wake:
                self._woken = entries[-1][0]
                continue
            for id_, fields in entries:
                mirror = self._mirrors.get(key.decode()[begin:])
                if mirror is not None and mirror.known and mirror.followed:
                    mirror.add(decoded(id_, fields[1], shared=True))

    async def _wake(self) -> None:
        try:
            await self._looking.wake(self._wake_key, kept_seconds=_BLOCK_SECONDS * 2)
        except AWAY:
            self._looking.doubt()  # the call ends by itself


def _id_of(last: Position) -> str:
    return _START if last.offset < 0 else str(last)
