"""Looks into the logs in Redis, a page at a time. Whoever looks waits until Redis answers."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from runnel.chat.ports import Recovered, StaleFence
from runnel.events import Batch, Position, Reset, text_of
from runnel.streamlog.batches import size_of
from runnel.streamlog.redis_codec import decoded
from runnel.streamlog.redis_keys import Keys
from runnel.streamlog.redis_link import AWAY, Argument, Link, Script, pauses
from runnel.streamlog.redis_mirror import NOWHERE
from runnel.streamlog.redis_presence import Presence

_log = structlog.stdlib.get_logger()
#: So many texts are put together at a time, for readers whose place is in no log.
_TEXTS_AT_ONCE: Final = 4
_LOOK: Final = Script("look")
_RECOVER: Final = Script("recover")


@dataclass(frozen=True, slots=True)
class Page:
    """`last` and `closed` are the log's. `found`: the cursor is in it, and these are behind it."""

    last: Position
    closed: bool
    found: bool
    batches: Sequence[Batch]


_NO_LOG: Final = Page(NOWHERE, closed=False, found=True, batches=())


class Looking:
    """Shares a few connections among all who look."""

    def __init__(
        self,
        links: Sequence[Link],
        keys: Keys,
        presence: Presence,
        *,
        page_bytes: int,
        timeout_seconds: float,
    ) -> None:
        self._free = list(links)
        self._places = asyncio.Semaphore(len(links))
        self._texts = asyncio.Semaphore(_TEXTS_AT_ONCE)
        self._keys = keys
        self._presence = presence
        self._page_bytes = page_bytes
        self._timeout_seconds = timeout_seconds

    async def page(
        self, generation_id: str, cursor: Position | None, epoch: int | None = None
    ) -> Page:
        """What is behind the cursor of a reader that stands in an epoch, if it does. Where the
        cursor is nowhere in the log: a `reset`.
        """
        while True:
            page = await self._page(generation_id, cursor, epoch)
            if page.found:
                return page
            # The whole text so far; but an end that is there is told by itself.
            upto = Position(page.last.epoch, page.last.offset - page.closed)
            async with self._texts:
                text = await self._text(generation_id, upto)
            if text is not None:
                reset = Reset(text)
                batch = Batch(upto.epoch, upto.offset, (reset,), size_of(reset))
                return Page(page.last, page.closed, found=True, batches=(batch,))

    async def recover(
        self, generation_id: str, fence: int, *, running_seconds: float
    ) -> Recovered | None:
        """As the port says."""
        keys = (*self._keys_of(generation_id), self._keys.expires)
        kept = int(running_seconds * 1000)
        answer = await self._run(_RECOVER, keys, generation_id, fence, kept)
        if not answer:
            return None
        if answer[0]:
            raise StaleFence(generation_id)
        last = Position(int(answer[1]), int(answer[2]))
        text = await self._text(generation_id, last)
        if text is None:
            # Only a newer owner begins it anew; or it went, and Redis with it.
            return await self.recover(generation_id, fence, running_seconds=running_seconds)
        return Recovered(last, text, bool(answer[3]))

    async def epoch(self, generation_id: str) -> int | None:
        """None if Redis does not say."""
        try:
            async with asyncio.timeout(self._timeout_seconds), self._link() as link:
                answer = await link.call("HGET", self._keys.meta(generation_id), "epoch")
        except AWAY:
            self.doubt()
            return None
        return None if answer is None else int(answer)

    async def wake(self, key: str, *, kept_seconds: float) -> None:
        """Puts something new into a Stream. Raises one of AWAY."""
        async with self._link() as link:
            await link.call("XADD", key, "MAXLEN", 1, "*", "w", b"")
            await link.call("PEXPIRE", key, int(kept_seconds * 1000))

    def doubt(self) -> None:
        """A call has failed; whether Redis answers is looked at now."""
        self._presence.doubt.set()

    async def close(self) -> None:
        for link in self._free:
            await link.close()

    async def _text(self, generation_id: str, upto: Position) -> str | None:
        """The text of a log up to there; None if another one is in its place."""
        pieces: list[str] = []
        cursor: Position | None = None
        while cursor is None or cursor < upto:
            page = await self._page(generation_id, cursor, upto.epoch)
            if page.last.epoch != upto.epoch or page.last < upto or not page.found:
                return None
            for batch in page.batches:
                events = batch.events[: max(0, upto.offset + 1 - batch.offset)]
                if events and isinstance(events[0], Reset):
                    pieces = []
                pieces.append(text_of(events))
                cursor = batch.last
            if not page.batches:
                break
        return "".join(pieces)

    async def _page(self, generation_id: str, cursor: Position | None, epoch: int | None) -> Page:
        answer = await self._run(
            _LOOK,
            self._keys_of(generation_id),
            *(("", "") if cursor is None else (cursor.epoch, cursor.offset)),
            "" if epoch is None else epoch,
            self._page_bytes,
        )
        if not answer:
            return _NO_LOG
        at, last, closed, found, entries = answer
        batches = [decoded(id_, entry, shared=False) for id_, entry in entries]
        if found and cursor is not None and batches and batches[0].epoch == cursor.epoch:
            batches[0] = batches[0].after(cursor.offset)
        return Page(Position(int(at), int(last)), bool(closed), bool(found), batches)

    def _keys_of(self, generation_id: str) -> tuple[str, str]:
        return self._keys.log(generation_id), self._keys.meta(generation_id)

    async def _run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        for pause in pauses():
            try:
                async with self._link() as link:
                    return await link.run(script, keys, *arguments)
            except ResponseError as error:
                _log.warning("streams.not_read", reason=str(error))
            except AWAY:
                self.doubt()
            await asyncio.sleep(pause)
        raise AssertionError  # the pauses have no end

    @asynccontextmanager
    async def _link(self) -> AsyncGenerator[Link]:
        async with self._places:
            link = self._free.pop()
            try:
                yield link
            finally:
                self._free.append(link)
