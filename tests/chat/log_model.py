"""What a stream log should hold and tell, in plain Python: the model that log_machine drives."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from runnel.chat.ports import LogReader, StreamLog
from runnel.events import Batch, Event, Position, Reset, text_of

#: Where a reader may begin.
PLACES: Final = ["none", "first", "middle", "top", "future", "earlier epoch", "later epoch"]


async def _next(reader: LogReader) -> Sequence[Batch]:
    return await reader.next()


class Known:
    """What should be in one generation's log; what was in it, once it is no longer kept."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.kept = False
        self.epoch = 0
        self.fence = 1
        self.events: list[Event] = []

    def begin(self, epoch: int, fence: int, first: Event) -> None:
        self.kept, self.epoch, self.fence, self.events = True, epoch, fence, [first]

    @property
    def last(self) -> Position:
        return Position(self.epoch, len(self.events) - 1)

    @property
    def finished(self) -> bool:
        return bool(self.events) and self.events[-1].terminal

    @property
    def text(self) -> str:
        return text_of(self.events)

    def text_at(self, position: Position) -> str:
        return text_of(self.events[: position.offset + 1])

    def holds(self, position: Position) -> bool:
        return position.epoch == self.epoch and position.offset < len(self.events)

    def position(self, place: str, far: int = 1) -> Position | None:
        epoch, top = max(self.epoch, 1), self.last.offset
        places = {
            "first": Position(epoch, 0),
            "middle": Position(epoch, max(top - far, 0)),
            "top": Position(epoch, max(top, 0)),
            "future": Position(epoch, top + far),
            "earlier epoch": Position(max(epoch - far, 1), far),
            "later epoch": Position(epoch + 1, far - 1),
        }
        return places.get(place)

    def stand_in(self) -> tuple[Position, Event]:
        """The reset for a reader whose position is not held."""
        return Position(self.epoch, self.last.offset - self.finished), Reset(self.text)


class Client:
    """Who reads: what it holds, and what its present reader may get next.

    `text` is None as long as it claims a position that it has not read itself.
    """

    def __init__(self, known: Known, reader: LogReader, cursor: Position | None) -> None:
        self.known = known
        self.text = "" if cursor is None else None
        self.cursor = cursor
        self.ends: list[Position] = []
        self.page: asyncio.Task[Sequence[Batch]] | None = None
        self.attach(reader)

    def attach(self, reader: LogReader) -> None:
        self.reader = reader
        self.epoch: int | None = None  # in which the reader has found its place
        self.closed = self.ended = False

    def __repr__(self) -> str:
        return f"Client({self.known.name!r} at {self.cursor})"

    @property
    def over(self) -> bool:
        return self.closed or self.ended

    @property
    def silent(self) -> bool:
        """Whether there is nothing to tell the reader now, not even that nothing will come."""
        known = self.known
        if self.over:
            return False
        return not known.kept or (
            not known.finished and self.cursor == known.last and self.epoch in (None, known.epoch)
        )

    def ask(self) -> None:
        if self.page is None:
            self.page = asyncio.get_running_loop().create_task(_next(self.reader))

    def finds_its_place(self) -> None:
        """It goes on behind its cursor in the log that is there."""
        if self.known.kept:
            self.epoch = self.known.epoch
            if self.text is None and self.cursor is not None:
                self.text = self.known.text_at(self.cursor)

    def take(self, page: Sequence[Batch]) -> None:
        """A page has come."""
        if self.over:
            assert not page, "told something behind the end"
            return
        if not page:
            assert self.known.finished, "closed without an end"
            assert self.cursor == self.known.last, "ended before all was told"
            self.finds_its_place()
            self.ended = True
        for batch in page:
            assert batch.events, "an empty batch"
            assert batch.last == Position(batch.epoch, batch.offset + len(batch.events) - 1)
            for index, event in enumerate(batch.events):
                self._take(Position(batch.epoch, batch.offset + index), event)

    def _take(self, position: Position, event: Event) -> None:
        assert self.known.kept, "an event of a log that is not there"
        assert not self.ended, "an event behind the end"
        allowed = self._allowed()
        assert (position, event) in allowed, f"{self} was told {event} at {position}, not {allowed}"
        if isinstance(event, Reset):
            self.text = event.text
        else:
            assert self.cursor is None or position > self.cursor
            self.finds_its_place()
            self.text = (self.text or "") + text_of([event])
        self.cursor, self.epoch, self.ended = position, position.epoch, event.terminal
        if event.terminal:
            assert position not in self.ends, "the same end twice"
            self.ends.append(position)
        assert self.text == self.known.text_at(position)

    def _allowed(self) -> list[tuple[Position, Event]]:
        """The next event; for a reader that finds its place first, what it may begin with."""
        known, cursor = self.known, self.cursor
        first = (Position(known.epoch, 0), known.events[0])
        if cursor is None:
            return [first]
        if self.epoch not in (None, known.epoch):  # begun anew under the reader
            return [first, known.stand_in()]
        if not known.holds(cursor):
            return [known.stand_in()]
        behind = Position(cursor.epoch, cursor.offset + 1)
        return [(behind, known.events[behind.offset])] if known.holds(behind) else []


class Reading:
    """The clients of one log, and how they read it in an event loop."""

    log: StreamLog
    attached: list[Client]
    patience = 5.0  # seconds within which what is there must come

    async def settled(self) -> None:
        """Every reader has gone as far as it can by itself."""
        for _ in range(3):
            await asyncio.sleep(0)

    def _clients_of(self, name: str) -> list[Client]:
        return [client for client in self.attached if client.known.name == name]

    async def _ask(self, clients: Iterable[Client]) -> None:
        for client in clients:
            client.ask()

    async def _cancel(self, clients: Sequence[Client]) -> None:
        for client in clients:
            if client.page is not None:
                client.page.cancel()
        for client in clients:
            await self._taken(client)

    async def _look(self, known: Known, after: Position | None) -> None:
        """Whoever comes now finds what there should be, and no more."""
        client = Client(known, self.log.read(known.name, after), after)
        await self._read_all(client)
        await self._close([client], client.reader.close)
        assert (client.cursor, client.text) == (known.last, known.text)

    async def _read_all(self, client: Client) -> None:
        """Reads until the reader waits, or has said that nothing will come."""
        over = False
        while not over:
            over = client.over
            client.ask()
            if client.silent:
                await self._waits([client])
                return
            await self._taken(client)

    async def _waits(self, clients: Iterable[Client]) -> None:
        """Who has asked, and has nothing to be told, waits."""
        await self.settled()
        for client in clients:
            if client.page is not None and client.silent:
                assert not client.page.done(), f"told what is not there: {client.page}"
                client.finds_its_place()

    async def _close(self, clients: Sequence[Client], close: Callable[[], None]) -> None:
        close()
        for client in clients:
            client.closed = True  # whatever there was to read
            await self._taken(client)

    async def _taken(self, client: Client) -> None:
        """What the client has asked for comes, and is what it should be."""
        page, client.page = client.page, None
        if page is not None:
            await asyncio.wait([page], timeout=self.patience)
            assert page.done(), f"{client} waits for what is there"
            if not page.cancelled():
                client.take(page.result())

    async def _served(self) -> None:
        """Who waits gets what has come, and nothing else."""
        # Whoever has read an end asks in vain, whatever has become of the log.
        await self._ask(client for client in self.attached if client.ended)
        await self._waits(self.attached)
        for client in self.attached:
            if not client.silent:
                await self._taken(client)
