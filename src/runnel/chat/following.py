"""One reader's way through one answer: from the log, and from its row where the log has nothing."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import structlog

from runnel.chat.audiences import Audiences
from runnel.chat.entities import Generation
from runnel.chat.ports import LogReader, Observer, Store
from runnel.errors import RunnelError
from runnel.events import Batch, Position, Reset

_log = structlog.stdlib.get_logger()
#: How many rows one look reads.
_ROWS_A_LOOK: Final = 500


class Follower:
    """Follows one answer from a position. `leave` or `close` it in the end.

    `finished`: the reader holds the terminal position; there is nothing to come. `left`: it went
    by itself. `outcome`: how the answer ended, for who asked for `whole` and if it ended here.
    """

    __slots__ = (
        "__weakref__",
        "_began",
        "_counted",
        "_cursor",
        "_ended",
        "_home",
        "_present",
        "_reader",
        "_silent_since",
        "finished",
        "generation_id",
        "left",
        "outcome",
        "whole",
    )

    def __init__(
        self,
        home: "Followers",
        generation_id: str,
        reader: LogReader,
        after: Position | None,
        *,
        counted: bool,
        whole: bool,
    ) -> None:
        self.generation_id = generation_id
        self.finished = False
        self.left = False
        self.whole = whole
        self.outcome: Generation | None = None
        self._home = home
        self._counted = counted
        self._reader = reader
        self._cursor = after
        self._began = False
        self._ended: Generation | None = None
        self._present = True
        self._silent_since: float | None = None

    @property
    def position(self) -> Position | None:
        """Of the last event that was given; where the reader began, before there was one."""
        return self._cursor

    async def next(self) -> Sequence[Batch]:
        """All that is there behind the cursor, at most a page; waits if there is nothing.

        Empty when it was closed, and once the terminal event has been given. Cancelling loses
        nothing.
        """
        if self.finished:
            return ()
        if self._ended is None:
            self._silent_since = time.monotonic()
            try:
                batches = await self._reader.next()
            finally:
                self._silent_since = None
            if batches:
                return self._given(batches)
        if self._ended is None or not self._present:
            return ()
        return self._given(_rest(self._ended, self._cursor))

    async def fetch(self) -> None:
        """What is there now is at hand then: `next` gives it without waiting."""
        if not self.finished and self._ended is None:
            await self._reader.fetch()

    def leave(self, *, linger_seconds: float = 0.0) -> None:
        """The client has gone, or has all it wanted. One that polls lingers till it comes again."""
        if self._depart():
            self.left = True
            if self._counted:
                self._home.audiences.leave(self.generation_id, linger_seconds=linger_seconds)

    def close(self) -> None:
        """The server ends the reading; for the client the answer is not over."""
        if self._depart() and self._counted:
            self._home.audiences.dismiss(self.generation_id)

    def silent(self, before: float) -> bool:
        """Whether it has waited for the log since `before`, and longer."""
        return self._silent_since is not None and self._silent_since <= before

    def looked(self, at: float) -> None:
        """Its row says nothing new."""
        if self._silent_since is not None:
            self._silent_since = at

    def end_with(self, ended: Generation) -> None:
        """What the log does not tell any more is told by the row."""
        self._ended = ended
        self._reader.close()

    def _given(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        if isinstance(batches[0].events[0], Reset):
            self._count_reset()
        self._began = True
        last = batches[-1]
        self._cursor = last.last
        self.finished = last.events[-1].terminal
        return batches

    def _count_reset(self) -> None:
        if self._ended is not None:
            self._home.observer.reset("row")
        elif self._cursor is not None:
            self._home.observer.reset("epoch" if self._began else "position")

    def _depart(self) -> bool:
        was_present, self._present = self._present, False
        if was_present:
            self._home.remove(self)
            self._reader.close()
        return was_present


def _rest(ended: Generation, cursor: Position | None) -> Sequence[Batch]:
    """What an ended generation's row tells a reader: the text, if it has not all of it; the end."""
    end = ended.position
    assert end is not None
    terminal = Batch(end.epoch, end.offset, (ended.terminal(),))
    before = Position(end.epoch, end.offset - 1)
    if cursor == before:
        return (terminal,)
    return (Batch(before.epoch, before.offset, (Reset(ended.text),)), terminal)


class Followers:
    """All who follow an answer on this instance."""

    def __init__(
        self, store: Store, audiences: Audiences, observer: Observer, *, silence_seconds: float
    ) -> None:
        self.audiences = audiences
        self.observer = observer
        self._store = store
        self._silence_seconds = silence_seconds
        self._followers: set[Follower] = set()
        self._awaiting: dict[str, list[Follower]] = {}  # who asked for the whole of an answer

    def __len__(self) -> int:
        return len(self._followers)

    def add(
        self,
        generation_id: str,
        reader: LogReader,
        after: Position | None,
        *,
        counted: bool = True,
        needed: bool = False,
        whole: bool = False,
    ) -> Follower:
        """`counted`: it is one of those without whom an answer may be aborted; `needed`: this one
        is, whoever makes it. `whole`: it wants to know how the answer has ended.
        """
        follower = Follower(self, generation_id, reader, after, counted=counted, whole=whole)
        self._followers.add(follower)
        if whole:
            self._awaiting.setdefault(generation_id, []).append(follower)
        if counted:
            self.audiences.enter(generation_id, shared=needed)
        return follower

    def remove(self, follower: Follower) -> None:
        self._followers.discard(follower)
        if follower.whole:
            awaiting = self._awaiting[follower.generation_id]
            awaiting.remove(follower)
            if not awaiting:
                del self._awaiting[follower.generation_id]

    def ended(self, generation: Generation, question: str) -> None:
        """To be told of every end here, before who follows the answer is."""
        del question
        for follower in self._awaiting.get(generation.id, ()):
            follower.outcome = generation

    def close_some(self, which: Callable[[str], bool]) -> None:
        """Sends away who follows answers of which that is true."""
        for follower in tuple(self._followers):
            if which(follower.generation_id):
                follower.close()

    async def watch(self) -> NoReturn:
        """Looks again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(self._silence_seconds / 3)
            try:
                await self.look()
            except RunnelError:
                _log.warning("readers.rows_not_read")  # the next look makes up for it
            except Exception:  # noqa: BLE001 - the outermost frame: the next look must come
                _log.exception("readers.look_failed")

    async def look(self) -> None:
        """Who has heard nothing for long is told what the rows say, for they are the truth.

        Raises RunnelError `store_unavailable`.
        """
        latest = time.monotonic() - self._silence_seconds
        silent: dict[str, list[Follower]] = {}
        for follower in self._followers:
            if follower.silent(latest):
                silent.setdefault(follower.generation_id, []).append(follower)
        ids = list(silent)
        for begin in range(0, len(ids), _ROWS_A_LOOK):
            part = ids[begin : begin + _ROWS_A_LOOK]
            await self._tell({each: silent[each] for each in part}, latest)

    async def _tell(self, silent: dict[str, list[Follower]], latest: float) -> None:
        seen = {row.id: row for row in await self._store.see_all(silent)}
        for generation_id, followers in silent.items():
            row = seen.get(generation_id)
            if row is not None and row.end is None:
                for follower in followers:
                    follower.looked(time.monotonic())
                continue
            ended = row and await self._store.ended(generation_id)
            # Meanwhile the log may have told some of them.
            for follower in [waiting for waiting in followers if waiting.silent(latest)]:
                if ended is None:  # purged
                    follower.close()
                else:
                    follower.end_with(ended)
