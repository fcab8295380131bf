"""One reader's way through a log in Redis: from the mirror where that has it, else by looks."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from runnel.events import Batch, Position
from runnel.streamlog.redis_looking import Page
from runnel.streamlog.redis_mirror import Mirror


class Home(Protocol):
    """What a reader needs of the log."""

    @property
    def page_bytes(self) -> int: ...

    def mirror_of(self, generation_id: str) -> Mirror: ...

    def follow(self, mirror: Mirror) -> None: ...

    def leave(self, generation_id: str, reader: "RedisReader") -> None: ...

    async def look(
        self, generation_id: str, cursor: Position | None, epoch: int | None
    ) -> Page: ...

    async def known_soon(self, looking: "asyncio.Task[Page]") -> None: ...


class RedisReader:
    """Implements chat.ports.LogReader: a cursor, and a page of what is far behind at most."""

    def __init__(self, home: Home, generation_id: str, after: Position | None) -> None:
        self._home = home
        self._generation_id = generation_id
        self._mirror = home.mirror_of(generation_id)
        self._mirror.readers.add(self)
        self._cursor = after
        self._epoch: int | None = None  # in which it has found its place
        self._looking: asyncio.Task[Page] | None = None  # goes on if nobody waits for it now
        self._news: asyncio.Future[None] | None = None
        self._stirred = True  # whether there may be something behind the cursor
        self._closed = False
        self._ended = False  # the terminal event is read; no later epoch is told behind it

    async def next(self) -> Sequence[Batch]:
        while not (self._closed or self._ended):
            if self._stirred if self._looking is None else self._looking.done():
                batches = self._seen() or self._mirrored()
                if batches or self._ended:
                    return batches or ()
                if batches is None:
                    self._look()
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None
        return ()

    async def fetch(self) -> None:
        if self._closed or self._ended:
            return
        if self._looking is None and not self._mirror.covers(self._cursor, self._epoch):
            self._look()
        if self._looking is not None:
            await self._home.known_soon(self._looking)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._looking is not None:
                self._looking.cancel()
            self._home.leave(self._generation_id, self)
            self.wake()

    def wake(self) -> None:
        """The log has news, or the reader was closed."""
        self._stirred = True
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def displace(self) -> None:
        """What it was told may be in no log any more."""
        self._epoch = None
        self.wake()

    def _look(self) -> None:
        look = self._home.look(self._generation_id, self._cursor, self._epoch)
        self._looking = asyncio.create_task(look)
        self._looking.add_done_callback(self._looked)

    def _looked(self, looking: "asyncio.Task[Page]") -> None:
        if not looking.cancelled():
            looking.exception()  # is told by `next`, if anybody asks
        self.wake()

    def _seen(self) -> Sequence[Batch]:
        """What a look has found. When it is all read, the log is followed."""
        looking, self._looking = self._looking, None
        if looking is None:
            return ()
        page = looking.result()
        if page.last.epoch:
            self._epoch = page.last.epoch
        self._advance(page.batches, page.last, closed=page.closed)
        if not page.batches:
            self._home.follow(self._mirror)
        return page.batches

    def _mirrored(self) -> Sequence[Batch] | None:
        """What the mirror has; None if it does not have what comes next."""
        mirror, cursor = self._mirror, self._cursor
        if self._ended:
            return ()
        if not mirror.covers(cursor, self._epoch):
            return None
        epoch = mirror.last.epoch
        if not epoch or (self._epoch is not None and epoch < self._epoch):
            return ()
        # A log begun anew under a reader is read from its first event, which is a `reset`.
        anew = cursor is None or (self._epoch is not None and epoch > self._epoch)
        offset = -1 if anew or cursor is None else cursor.offset
        batches = mirror.behind(offset, self._home.page_bytes)
        self._epoch = epoch
        self._advance(batches, mirror.last, closed=mirror.closed)
        self._stirred = self._cursor != mirror.last
        return batches

    def _advance(self, batches: Sequence[Batch], last: Position, *, closed: bool) -> None:
        if batches:
            self._cursor = batches[-1].last
        self._ended = closed and self._cursor is not None and self._cursor == last
