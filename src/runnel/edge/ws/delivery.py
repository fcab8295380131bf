"""One answer's way to one connection: from its log, through the dialect, to the wire."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runnel.chat.notices import Asked
from runnel.chat.service import ChatService
from runnel.edge.dialects.sockets import Answer, Resuming, SocketDialect, encode, end_of
from runnel.edge.ws.wire import Wire
from runnel.errors import Code, RunnelError
from runnel.events import Batch, Event, Failed, Position, Start

if TYPE_CHECKING:
    from runnel.chat.following import Follower


@dataclass(frozen=True, slots=True)
class Way:
    """What all answers of one connection share. `missed` is told of one that broke off on it;
    `restarting`: the connection is closed, for the client to open another, once it has no more
    to say.
    """

    chat: ChatService
    wire: Wire
    dialect: SocketDialect
    missed: Callable[[Asked], None]
    restarting: Callable[[], bool]


class Delivery:
    """Tells of the question, then follows the answer to its end, once.

    With `resuming` it tells nothing of the question, and only what is behind a position. `over`:
    it has no more to say.
    """

    def __init__(self, way: Way, answer: Answer, resuming: Resuming | None = None) -> None:
        self.answer = answer
        self.over = asyncio.Event()
        self._way = way
        self._question = resuming is None
        self._after = resuming and resuming.after
        self._overhears = resuming is None and not answer.own
        self._follower: Follower | None = None
        self._running = False
        self._begins = False
        self._begun_again = False
        self._left = False
        self._closed = False

    @property
    def generation_id(self) -> str:
        return self.answer.asked.generation_id

    def asked_with(self, key: str | None) -> bool:
        """Whether a question with that key may be the one that it answers, sent again."""
        return key is not None and key == self.answer.asked.key

    def again(self, answer: Answer) -> None:
        """The question was sent again: it is told with all of its answer."""
        self.answer = answer
        self._question = True
        self._begin_again(None)

    def resume(self, after: Position | None) -> None:
        """It goes on from there instead."""
        self._begin_again(after)

    def _begin_again(self, after: Position | None) -> None:
        self._after = after
        self._overhears = False
        self._begun_again = True
        self._left = False
        if self._follower is not None:
            self._follower.leave()

    def leave(self) -> None:
        """The client has gone, or wants another answer instead."""
        self._left = True
        if self._follower is not None:
            self._follower.leave()

    async def left(self) -> None:
        """Leaves; returns once nothing of it is on its way any more."""
        self.leave()
        if self._running:
            await self.over.wait()

    def close(self) -> None:
        """The server ends the reading; for the client the answer is not over."""
        self._closed = True
        if self._follower is not None:
            self._follower.close()

    async def run(self) -> None:
        """Raises ClosedError once the socket is closed."""
        self._running = True
        while not self._left:
            self._begun_again = False
            try:
                await self._run()
            except RunnelError as error:
                if error.retryable:
                    # The close says it: to be told of an error, too, would make it look like an end.
                    if self._way.restarting():
                        return
                    self._way.missed(self.answer.asked)
                failed = Failed(error.code, error.message, error.retryable)
                await self._way.wire.send(self._way.dialect.end(self.answer, failed, None))
            if not self._begun_again:
                return

    async def _run(self) -> None:
        asked = self.answer.asked
        if self._question:
            self._question = False
            await self._way.wire.send(self._way.dialect.question(self.answer))
        follower = self._follower = await self._way.chat.attach(
            asked.user_id, asked.generation_id, self._after, overhears=self._overhears
        )
        if self._closed:
            follower.close()
        self._begins = self._after is None
        try:
            if follower.finished:  # whoever holds the end is told it again
                await self._end_from_row()
            while not (follower.finished or self._begun_again or self._left):
                batches = await follower.next()
                if not batches:
                    break
                await self._tell(batches)
                # A reader that waits holds nothing of what it was given.
                del batches
        finally:
            follower.leave()
        if not (follower.finished or self._begun_again or self._left or self._closed):
            raise RunnelError(
                Code.STREAM_UNAVAILABLE,
                "The answer cannot be read further now; it goes on. Follow it again in a moment.",
            )

    async def _tell(self, batches: Sequence[Batch]) -> None:
        if self._begins and not isinstance(batches[0].events[0], Start):
            # An answer that was begun anew meanwhile: what it belongs to is told all the same.
            await self._way.wire.send(self._way.dialect.start(self.answer))
        self._begins = False
        for batch in batches:
            if self._begun_again or self._left:
                return
            # One after the other: of a client that reads slowly no more than one is held.
            await self._way.wire.send(encode(self._way.dialect, self.answer, batch))
        last = batches[-1].events[-1]
        if last.terminal:
            await self._tell_end(last)

    async def _tell_end(self, end: Event) -> None:
        asked, row = self.answer.asked, None
        if self._way.dialect.needs_row(self.answer, end):
            row = await self._way.chat.generation(asked.user_id, asked.generation_id)
        await self._way.wire.send(self._way.dialect.end(self.answer, end, row))

    async def _end_from_row(self) -> None:
        asked = self.answer.asked
        row = await self._way.chat.generation(asked.user_id, asked.generation_id)
        await self._way.wire.send(end_of(self._way.dialect, self.answer, row))
