"""What one instance holds of one log in Redis: where it ends, and the last of its batches.

It is fed by the instance's own steps once they are confirmed, or by what Redis tells of others'.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, Protocol

from runnel.events import Batch, Position
from runnel.streamlog.batches import add_last

#: Where a log ends that has not begun.
NOWHERE: Final = Position(0, -1)


class Reader(Protocol):
    """Who reads it."""

    def wake(self) -> None: ...
    def displace(self) -> None: ...
    def close(self) -> None: ...


class Mirror:
    """`written`: the log is written by this instance. `followed`: Redis is asked what others write.

    Only while it is one of them it tells what comes; it never tells what is not confirmed.
    """

    __slots__ = (
        "_base",
        "_batches",
        "_size",
        "_tail_bytes",
        "changes",
        "closed",
        "followed",
        "known",
        "last",
        "readers",
        "written",
    )

    def __init__(self, tail_bytes: int) -> None:
        self._tail_bytes = tail_bytes
        self.readers: set[Reader] = set()
        self.written = False
        self.followed = False
        self.changes = 0  # so often something was learnt
        self._clear(NOWHERE, 0, closed=False, known=False)

    @property
    def live(self) -> bool:
        return self.known and (self.written or self.followed)

    @property
    def size(self) -> int:
        """Bytes that are held, about."""
        return self._size

    def place(self, last: Position, *, closed: bool) -> None:
        """The log is known to end there; what comes is told from there on."""
        self._clear(last, last.offset + 1, closed=closed, known=True)

    def forget(self) -> None:
        """What was known may not be so any more: whoever reads has to find its place anew."""
        self._clear(NOWHERE, 0, closed=False, known=False)
        self.followed = False
        for reader in tuple(self.readers):
            reader.displace()

    def add(self, batch: Batch) -> None:
        """What was confirmed, or found in Redis; what is known already is passed over."""
        last = batch.last
        if self.known and last <= self.last:
            return
        if batch.offset == 0 or not self.known:
            self._clear(self.last, batch.offset, closed=False, known=True)
        elif (batch.epoch, batch.offset) != (self.last.epoch, self.last.offset + 1):
            self.forget()  # something between is missing
            return
        add_last(self._batches, batch)
        self.last = last
        self.closed = batch.events[-1].terminal
        self.changes += 1
        self._size += batch.size
        self._trim()
        for reader in self.readers:
            reader.wake()

    def covers(self, cursor: Position | None, epoch: int | None) -> bool:
        """Whether it has all that is behind a cursor, or will have it.

        `epoch` is that in which the reader has found its place, if it has.
        """
        if not self.live:
            return False
        if not self.last.epoch or (epoch is not None and self.last.epoch < epoch):
            return True  # it is to come
        if cursor is None or (epoch is not None and self.last.epoch > epoch):
            return self._base == 0
        if cursor.epoch != self.last.epoch or cursor.offset < self._base - 1:
            return False
        return epoch is not None or cursor <= self.last

    def behind(self, offset: int, page_bytes: int) -> Sequence[Batch]:
        """A page of what it has behind an offset of its epoch."""
        batches = self._batches
        if not batches or offset >= self.last.offset:
            return ()
        if batches[-1].offset == offset + 1:
            return (batches[-1],)
        index = bisect_right(batches, offset, key=lambda batch: batch.offset)
        rest = batches[index - 1].after(offset) if index else None
        page = [rest] if rest is not None and rest.events else []
        size = sum(batch.size for batch in page)
        while index < len(batches) and size < page_bytes:
            page.append(batches[index])
            size += batches[index].size
            index += 1
        return page

    def _clear(self, last: Position, base: int, *, closed: bool, known: bool) -> None:
        self.last = last
        self.closed = closed
        self.known = known
        self._base = base  # the offset of the first event that it has, or will have
        self._batches: list[Batch] = []
        self._size = 0
        self.changes += 1

    def _trim(self) -> None:
        if self._size <= self._tail_bytes:
            return
        gone = 0
        while self._size > self._tail_bytes and gone < len(self._batches) - 1:
            self._size -= self._batches[gone].size
            gone += 1
        del self._batches[:gone]
        self._base = self._batches[0].offset
