"""Who writes an answer into a log as a producer does, and who listens to it."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from log_contract import END, START, G

from runnel.chat.ports import LogMissing, PositionConflict, StreamLog
from runnel.events import Event, Position, Reset, Token


class Scribe:
    """Writes numbered words. A log that was lost is begun anew with all of them."""

    def __init__(self, log: StreamLog) -> None:
        self._log = log
        self.text = ""
        self.appending = dict[Position, asyncio.Future[Position]]()
        self.last = Position(0, -1)
        self.words = 0
        self.epochs = 0

    async def begin(self) -> None:
        await self._begin(START)

    async def _begin(self, first: Event) -> None:
        self.epochs += 1
        self.last = await self._log.begin(G, self.epochs, 1, first)

    async def write(self, *events: Event) -> None:
        """Returns once it is confirmed, in whatever epoch."""
        self.text += "".join(event.text for event in events if isinstance(event, Token))
        appending = self._log.append(G, 1, self.last, events)
        for number in range(len(events)):
            self.appending[Position(self.last.epoch, self.last.offset + 1 + number)] = appending
        try:
            self.last = await appending
        except (LogMissing, PositionConflict):
            await self._begin(Reset(self.text))
            rest = [event for event in events if event.terminal]
            if rest:
                await self.write(*rest)

    async def say(self, count: int) -> None:
        for _ in range(count):
            self.words += 1
            await self.write(Token(f"{self.words} "))

    async def end(self) -> None:
        await self.write(END)


class Listener:
    """Reads to the end, and checks what it is told: no event twice, none too early.

    Only what was written through `log` itself can be told too early.
    """

    def __init__(self, log: StreamLog, scribe: Scribe, after: Position | None = None) -> None:
        self._log = log
        self._scribe = scribe
        self.cursor = after
        self.text = ""
        self.resets = 0
        self.heard = asyncio.Event()

    async def listen(self) -> None:
        while True:
            reader = self._log.read(G, self.cursor)
            try:
                while batches := await reader.next():
                    for batch in batches:
                        for number, event in enumerate(batch.events):
                            self._take(Position(batch.epoch, batch.offset + number), event)
                            if event.terminal:
                                return
            finally:
                reader.close()

    def _take(self, position: Position, event: Event) -> None:
        if isinstance(event, Reset):
            self.text = event.text
            self.resets += 1
        else:
            assert self.cursor is None or position > self.cursor, "told twice"
            appending = self._scribe.appending.get(position)
            if self._log is self._scribe._log and appending is not None:
                assert appending.done(), "told before it was confirmed"
            if isinstance(event, Token):
                self.text += event.text
        self.cursor = position
        self.heard.set()

    async def hears(self, text: str) -> None:
        """Waits until it has heard that much."""
        while len(self.text) < len(text):
            self.heard.clear()
            async with asyncio.timeout(20):
                await self.heard.wait()


@asynccontextmanager
async def listening(*listeners: Listener) -> AsyncGenerator[None]:
    """Inside they listen; in the end all of them have heard the end."""
    tasks = [asyncio.create_task(listener.listen()) for listener in listeners]
    try:
        yield
        async with asyncio.timeout(20):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
