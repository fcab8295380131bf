"""The stream logs in Redis Streams: written in groups, read from memory once it is confirmed.

A log is a Stream whose entries are batches; an entry's id is the position of its last event.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, Self

import structlog

from runnel.chat.ports import Recovered
from runnel.events import Event, Position
from runnel.streamlog.batches import batch_of
from runnel.streamlog.redis_codec import encoded
from runnel.streamlog.redis_commits import Commits, Result, Step
from runnel.streamlog.redis_following import Following
from runnel.streamlog.redis_keys import Keys
from runnel.streamlog.redis_link import AWAY, Link, Script, pauses
from runnel.streamlog.redis_looking import Looking, Page
from runnel.streamlog.redis_mirror import NOWHERE, Mirror
from runnel.streamlog.redis_presence import Presence
from runnel.streamlog.redis_reader import RedisReader

_log = structlog.stdlib.get_logger()
#: So many may look into logs at a time.
_LOOKS: Final = 4
#: How often Redis is tidied, and asked whether it is there.
_TIDY_SECONDS: Final = 1.0
#: So many logs go at once.
_MOST_TIDIED: Final = 100
_TIDY: Final = Script("tidy")


class RedisLog:
    """Implements chat.ports.StreamLog. Use it as a context manager.

    Finished logs are kept `retention_seconds`, whoever reads; over `total_bytes` they go oldest
    first. A running log is never trimmed; one that nobody ends goes after `running_seconds`.
    `tail_bytes` of each log that is written or followed here are held in memory.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str,
        timeout_seconds: float,
        retention_seconds: float,
        running_seconds: float,
        total_bytes: int,
        page_bytes: int,
        tail_bytes: int,
    ) -> None:
        """Raises ValueError for an address that is none."""
        keys = Keys(prefix)
        self._keys = keys
        self._timeout_seconds = timeout_seconds
        self._running_seconds = running_seconds
        self._total_bytes = total_bytes
        self._page_bytes = page_bytes
        self._tail_bytes = tail_bytes
        self._mirrors: dict[str, Mirror] = {}
        self._drops: dict[str, Result] = {}  # of logs that are to be gone
        self._size = 0
        self._full = False
        self._works: list[asyncio.Task[None]] = []
        self._presence = Presence()

        def link() -> Link:
            return Link(url, timeout_seconds=timeout_seconds)

        self._links = [link() for _ in range(3)]
        commits_link, following_link, self._upkeep_link = self._links
        self._commits = Commits(
            commits_link,
            keys,
            self._presence,
            running_seconds=running_seconds,
            retention_seconds=retention_seconds,
            confirmed=self._confirmed,
            refused=self._refused,
            weighed=self._weighed,
        )
        self._looking = Looking(
            [link() for _ in range(_LOOKS)],
            keys,
            self._presence,
            page_bytes=page_bytes,
            timeout_seconds=timeout_seconds,
        )
        self._following = Following(following_link, keys, self._looking, self._mirrors)

    async def __aenter__(self) -> Self:
        for work in (self._commits.run, self._following.run, self._keep_tidy):
            self._works.append(asyncio.create_task(_lasting(work)))
        return self

    async def __aexit__(self, *_: object) -> None:
        """What is on its way is waited for, unless Redis is away."""
        if not self._presence.away:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._commits.idle.wait(), self._timeout_seconds)
        for work in self._works:
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)
        for generation_id in tuple(self._mirrors):
            self.hide(generation_id)
        self._commits.give_up()
        await self._following.close()
        await self._looking.close()
        for link in self._links:
            await link.close()

    @property
    def size(self) -> int:
        """Bytes that all logs in Redis hold, about."""
        return self._size

    def begin(self, generation_id: str, epoch: int, fence: int, first: Event) -> Result:
        return self._write(generation_id, fence, Position(epoch, -1), (first,))

    def append(
        self, generation_id: str, fence: int, after: Position, events: Sequence[Event]
    ) -> Result:
        return self._write(generation_id, fence, after, events)

    def _write(
        self, generation_id: str, fence: int, after: Position, events: Sequence[Event]
    ) -> Result:
        done: Result = asyncio.get_running_loop().create_future()
        batch = batch_of(after.epoch, after.offset + 1, events, shared=True)
        kind = "begin" if after.offset < 0 else "append"
        if kind == "begin" and after.epoch == 1:
            self._expect(generation_id)
        entry = encoded(events).decode()
        self._commits.add(Step(kind, generation_id, fence, done, batch, after.offset, entry))
        return done

    def _expect(self, generation_id: str) -> None:
        """Who comes to read a log that has no past needs to look for none: it is to come."""
        mirror = self.mirror_of(generation_id)
        if not mirror.known:
            mirror.place(NOWHERE, closed=False)
            mirror.written = True

    async def recover(self, generation_id: str, fence: int) -> Recovered | None:
        return await self._looking.recover(
            generation_id, fence, running_seconds=self._running_seconds
        )

    def check(self) -> None:
        self._presence.check()

    def read(self, generation_id: str, after: Position | None = None) -> RedisReader:
        return RedisReader(self, generation_id, after)

    async def epoch(self, generation_id: str) -> int | None:
        if self._presence.away or generation_id in self._drops:
            return None
        return await self._looking.epoch(generation_id)

    def hide(self, generation_id: str) -> None:
        """Whether its log is still written here shows with the next step: until then it is asked
        for like one of another instance.
        """
        mirror = self._mirrors.get(generation_id)
        if mirror is None:
            return
        mirror.written = False
        for reader in tuple(mirror.readers):
            reader.close()
        self._let_go(generation_id, mirror)

    def drop(self, generation_id: str) -> None:
        """A successor that writes it still begins it anew."""
        self.hide(generation_id)
        done: Result = asyncio.get_running_loop().create_future()
        self._drops[generation_id] = done
        self._commits.add(Step("drop", generation_id, 0, done))

    def tidy(self) -> None:
        """Redis is tidied all the time; it is done now."""
        self._presence.doubt.set()

    @property
    def full(self) -> bool:
        return self._full

    def mirror_of(self, generation_id: str) -> Mirror:
        """For readers: what is held here of a log."""
        mirror = self._mirrors.get(generation_id)
        if mirror is None:
            mirror = self._mirrors[generation_id] = Mirror(self._tail_bytes)
        return mirror

    def follow(self, mirror: Mirror) -> None:
        """For readers: what others write is to be told, too."""
        if mirror.known and not (mirror.written or mirror.followed):
            mirror.followed = True
            self._following.changed()

    def leave(self, generation_id: str, reader: RedisReader) -> None:
        """For readers: no longer."""
        mirror = self._mirrors.get(generation_id)
        if mirror is not None:
            mirror.readers.discard(reader)
            self._let_go(generation_id, mirror)

    async def look(self, generation_id: str, cursor: Position | None, epoch: int | None) -> Page:
        """For readers: what Redis has behind a cursor."""
        if dropping := self._drops.get(generation_id):
            await asyncio.wait([dropping])
        mirror = self.mirror_of(generation_id)
        changes = mirror.changes
        page = await self._looking.page(generation_id, cursor, epoch)
        taken = mirror.written and page.last.epoch > mirror.last.epoch
        if not mirror.known:
            mirror.place(page.last, closed=page.closed)
        elif mirror.changes == changes and (taken or page.last < mirror.last):
            # Another instance writes it now, or Redis has lost what it had confirmed.
            mirror.written = False
            mirror.forget()
            mirror.place(page.last, closed=page.closed)
        return page

    async def known_soon(self, looking: "asyncio.Task[Page]") -> None:
        """For readers: waits for a look, but not for longer than Redis may take."""
        if not self._presence.away:
            await asyncio.wait([looking], timeout=self._timeout_seconds)

    @property
    def page_bytes(self) -> int:
        """How much a reader takes at a time, about."""
        return self._page_bytes

    def _confirmed(self, step: Step) -> None:
        generation_id = step.generation_id
        if step.batch is None:
            self._dropped(step)
            return
        if step.done.cancelled():
            # Who wrote it may be its owner no more; somebody else may write it by now.
            mirror = self._mirrors.get(generation_id)
            if mirror is not None and mirror.known:
                mirror.add(step.batch)
            if step.kind == "begin":
                self._refused(step)  # it was only expected
            return
        mirror = self.mirror_of(generation_id)
        mirror.written, mirror.followed = True, False
        mirror.add(step.batch)
        self._let_go(generation_id, mirror)

    def _dropped(self, step: Step) -> None:
        generation_id = step.generation_id
        if self._drops.get(generation_id) is step.done:
            del self._drops[generation_id]
        mirror = self._mirrors.get(generation_id)
        if mirror is not None:
            mirror.written = False
            mirror.forget()
            self._let_go(generation_id, mirror)

    def _refused(self, step: Step) -> None:
        """Somebody else writes it, or Redis has lost it: what comes is not from here."""
        mirror = self._mirrors.get(step.generation_id)
        if mirror is not None and mirror.written:
            mirror.written = False
            if mirror.readers:
                self.follow(mirror)
            else:
                self._let_go(step.generation_id, mirror)

    def _let_go(self, generation_id: str, mirror: Mirror) -> None:
        if not mirror.readers and (mirror.closed or not mirror.written):
            self._mirrors.pop(generation_id, None)

    def _weighed(self, size: int) -> None:
        self._size = size
        if size > self._total_bytes and not self._full:
            self.tidy()

    async def _keep_tidy(self) -> None:
        """Each second, or at once if there is a reason; which shows as well whether Redis is there."""
        doubt = self._presence.doubt
        again = pauses()
        while True:
            doubt.clear()
            pause = next(again)
            try:
                more = await self._tidy_once()
            except AWAY as error:
                self._presence.lost(error, again=pause > 0)
                await asyncio.sleep(pause)
                continue
            again = pauses()
            if not self._commits.failing:
                self._presence.back()
            if not more:
                with suppress(TimeoutError):
                    await asyncio.wait_for(doubt.wait(), _TIDY_SECONDS)

    async def _tidy_once(self) -> bool:
        """Whether there may be more to do."""
        size, gone = await self._upkeep_link.run(
            _TIDY,
            self._keys.accounts,
            *(self._total_bytes, self._keys.log(""), self._keys.meta(""), _MOST_TIDIED),
        )
        self._size = size
        self._full = size > self._total_bytes and len(gone) < _MOST_TIDIED
        for generation_id in gone:
            self.hide(generation_id.decode())  # who reads it attaches again, and is told by the row
        return len(gone) == _MOST_TIDIED


async def _lasting(work: Callable[[], Awaitable[None]]) -> None:
    """Works until it is cancelled, whatever comes."""
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - the outermost frame of a task
            _log.exception("streams.work_failed")
        await asyncio.sleep(_TIDY_SECONDS)
