"""An answer as server-sent events: what a dialect makes of its events, in their order."""

from collections.abc import Sequence
from typing import Protocol

from runnel.edge.dialects.sse import SseDialect, encode, retry_line
from runnel.events import Batch


class Frames(Protocol):
    """Makes the bytes of one stream: `opening` first, then `frames` of what there is, and what
    comes next, again and again; `broken_off` where there was no end.
    """

    @property
    def over(self) -> bool:
        """Whether nothing comes behind the last that was given."""
        ...

    def opening(self) -> bytes: ...

    def frames(self, batches: Sequence[Batch]) -> bytes: ...

    def broken_off(self) -> bytes: ...


class SseFrames:
    """Each event as the dialect has it."""

    __slots__ = ("_dialect", "over")

    def __init__(self, dialect: SseDialect) -> None:
        self.over = False
        self._dialect = dialect

    def opening(self) -> bytes:
        return retry_line()

    def frames(self, batches: Sequence[Batch]) -> bytes:
        self.over = bool(batches) and batches[-1].events[-1].terminal
        return encode(self._dialect, batches)

    def broken_off(self) -> bytes:
        """Nothing: without an end, the client attaches again."""
        return b""
