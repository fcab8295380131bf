"""Batches as logs hold them: what they weigh, and how long dialects' work on them is kept."""

from collections.abc import Sequence
from sys import getsizeof
from typing import Final

from runnel.events import Batch, Event, Reset, Token, ToolCall

#: What a batch and an event weigh beside their text, as measured.
_BATCH_BYTES: Final = 200
_EVENT_BYTES: Final = 64
#: How many of a log's last batches keep what dialects made of them.
_ENCODED_BATCHES: Final = 16


def batch_of(epoch: int, offset: int, events: Sequence[Event], *, shared: bool) -> Batch:
    """`shared`: its readers share what dialects make of it."""
    size = _BATCH_BYTES
    for event in events:
        if isinstance(event, Token):  # by far the most
            size += _EVENT_BYTES + getsizeof(event.text)
        else:
            size += size_of(event)
    return Batch(epoch, offset, tuple(events), size, frames={} if shared else None)


def size_of(event: Event) -> int:
    if isinstance(event, Token | Reset):
        return _EVENT_BYTES + getsizeof(event.text)
    if isinstance(event, ToolCall):
        return _EVENT_BYTES + sum(map(getsizeof, (event.id, event.name, event.arguments)))
    return _EVENT_BYTES


def add_last(batches: list[Batch], batch: Batch) -> None:
    """Puts a batch at the end; one that is old by now forgets what dialects made of it."""
    batches.append(batch)
    if len(batches) > _ENCODED_BATCHES:
        batches[-_ENCODED_BATCHES - 1].frames = None
