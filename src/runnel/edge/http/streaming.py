"""One answer as the frames of server-sent events."""

from collections.abc import AsyncGenerator, Callable, Sequence

from runnel.chat.following import Follower
from runnel.edge.dialects.sse import SseDialect, encode, retry_line
from runnel.events import Batch

#: Writes an answer: first the batches that were read already, then what a follower gives.
Write = Callable[[Sequence[Batch], Follower], AsyncGenerator[bytes]]


def writing(dialect: SseDialect) -> Write:
    """Each event as the dialect has it, to the end that the follower comes to."""

    async def write(first: Sequence[Batch], follower: Follower) -> AsyncGenerator[bytes]:
        frames = retry_line() + encode(dialect, first)
        del first
        while True:
            yield frames
            # A reader that waits holds nothing of what it was given: that may be a whole answer.
            del frames
            if follower.finished:
                return
            batches = await follower.next()
            if not batches:
                return  # closed by us: without an end, so that the client attaches again
            frames = encode(dialect, batches)
            del batches

    return write
