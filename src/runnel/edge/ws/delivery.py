"""One answer's way to one connection: from its log, through the dialect, to the wire."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runnel.chat.service import ChatService
from runnel.edge.dialects.sockets import Answer, SocketDialect, encode, error_frame
from runnel.edge.ws.wire import Wire
from runnel.errors import Code, RunnelError
from runnel.events import Batch, Position, Start

if TYPE_CHECKING:
    from runnel.chat.following import Follower


class Delivery:
    """Tells of the question, then follows the answer to its end, once.

    `again` begins it anew, from wherever a connection says that it stands.
    """

    def __init__(
        self,
        chat: ChatService,
        wire: Wire,
        dialect: SocketDialect,
        answer: Answer,
        *,
        question: bool = True,
        after: Position | None = None,
    ) -> None:
        self.answer = answer
        self._chat = chat
        self._wire = wire
        self._dialect = dialect
        self._question = question
        self._after = after
        self._follower: Follower | None = None
        self._begins = False
        self._begun_again = False
        self._left = False

    @property
    def generation_id(self) -> str:
        return self.answer.asked.generation_id

    def again(self, *, question: bool, after: Position | None) -> None:
        """It goes on from there instead; before, tells of the question once more, if wanted."""
        self._question = self._question or question
        self._after = after
        self._begun_again = True
        if self._follower is not None:
            self._follower.leave()

    def leave(self) -> None:
        """The client has gone, or wants another answer instead."""
        self._left = True
        if self._follower is not None:
            self._follower.leave()

    def close(self) -> None:
        """The server ends the reading; for the client the answer is not over."""
        if self._follower is not None:
            self._follower.close()

    async def run(self) -> None:
        """Raises ClosedError once the socket is closed."""
        while True:
            self._begun_again = False
            try:
                await self._run()
            except RunnelError as error:
                await self._wire.send([error_frame(error, generation_id=self.generation_id)])
            if not self._begun_again:
                return

    async def _run(self) -> None:
        asked = self.answer.asked
        if self._question:
            self._question = False
            await self._wire.send(self._dialect.question(self.answer))
        follower = self._follower = await self._chat.attach(
            asked.user_id, asked.generation_id, self._after
        )
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
        if not (follower.finished or self._begun_again or self._left or self._wire.ended):
            raise RunnelError(
                Code.STREAM_UNAVAILABLE,
                "The answer cannot be read further now. Resume it in a moment.",
            )

    async def _tell(self, batches: Sequence[Batch]) -> None:
        frames: list[bytes] = []
        if self._begins and not isinstance(batches[0].events[0], Start):
            # An answer that was begun anew meanwhile: what it belongs to is told all the same.
            frames += self._dialect.start(self.answer)
        self._begins = False
        for batch in batches:
            frames += encode(self._dialect, self.answer, batch)
        last = batches[-1].events[-1]
        if last.terminal:
            row = None
            if self._dialect.needs_row(self.answer, last):
                await self._wire.send(frames)
                frames = []
                asked = self.answer.asked
                row = await self._chat.generation(asked.user_id, asked.generation_id)
            frames += self._dialect.end(self.answer, last, row)
        await self._wire.send(frames)

    async def _end_from_row(self) -> None:
        asked = self.answer.asked
        row = await self._chat.generation(asked.user_id, asked.generation_id)
        end = row.terminal()
        needed = row if self._dialect.needs_row(self.answer, end) else None
        await self._wire.send(self._dialect.end(self.answer, end, needed))
