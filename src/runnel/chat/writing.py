"""One generation's way into its log: its events in their order, none lost and none twice."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import structlog

from runnel.chat.entities import Fitted, Generation
from runnel.chat.ports import LogMissing, PositionConflict, StaleFence, Store, StreamLog
from runnel.errors import Code, RunnelError
from runnel.events import Event, Position, Reset, Token

_log = structlog.stdlib.get_logger()
#: Between two tries of what the database, which is away, is needed for.
_STORE_PAUSE: Final = 0.1
#: What has gathered is cut behind so much text: a batch is kept, read and sent as a whole.
_BATCH_CHARACTERS: Final = 64 * 1024


class Writer:
    """Appends events; what comes while an append is under way gathers, and goes with the next.

    A log that was lost is begun again, with all that was written. `text` gives that as a whole,
    `fitted` what of the talk it answers. `lost` is called when nothing can be written any more.
    `epoch` is one that is open already, for the log to begin with; 0: none is.
    """

    __slots__ = (
        "_beginning",
        "_confirmed",
        "_epoch",
        "_fault",
        "_fitted",
        "_flight",
        "_gathered",
        "_generation",
        "_log",
        "_open",
        "_opening",
        "_position",
        "_store",
        "_tell_lost",
        "_text",
        "_waiting",
        "_written",
    )

    def __init__(
        self,
        generation: Generation,
        store: Store,
        log: StreamLog,
        *,
        text: Callable[[], str],
        fitted: Callable[[], Fitted],
        lost: Callable[[], None],
        epoch: int = 0,
    ) -> None:
        self._generation = generation
        self._store = store
        self._log = log
        self._text = text
        self._fitted = fitted
        self._tell_lost = lost
        self._position: Position | None = None
        self._gathered: list[
            tuple[Sequence[Event], int]
        ] = []  # and how many tokens are written then
        self._flight: asyncio.Future[Position] | None = None
        self._beginning: asyncio.Task[None] | None = None
        self._opening: asyncio.Future[Position] | None = None
        self._written = 0
        self._confirmed = 0
        self._epoch = epoch
        self._open = epoch > 0  # and no log was begun with it
        self._fault: Exception | None = None
        self._waiting: set[asyncio.Future[None]] = set()

    @property
    def position(self) -> Position | None:
        """Of the last event that is confirmed; None before the log has begun."""
        return self._position

    @property
    def epoch(self) -> int:
        """The last that was opened in the store, whether its log has begun or not."""
        return self._epoch

    @property
    def confirmed(self) -> int:
        """How many tokens of the text are confirmed, by themselves or in a `reset`."""
        return self._confirmed

    @property
    def fault(self) -> Exception | None:
        """Why nothing can be written any more: most likely StaleFence."""
        return self._fault

    @property
    def settled(self) -> bool:
        """Whether all that was written is confirmed."""
        return not (self._flight or self._beginning or self._gathered)

    def lose(self) -> None:
        """Another has become the owner."""
        self._give_up()
        self._fail(StaleFence(self._generation.id))
        self._changed()

    async def begin(self, first: Event) -> str | None:
        """Begins the next epoch with an event that says all that was written so far.

        Whatever was under way in the epoch before is given up. Who has asked to abort meanwhile, as
        far as the store was asked: not where the epoch was open. Raises StaleFence; RunnelError
        `store_unavailable`, or `stream_unavailable` if it was interrupted: then whether the log has
        begun is not known.
        """
        self._give_up()
        self._written = self._confirmed = int(isinstance(first, Reset) and bool(first.text))
        return await self._begin(lambda: first)

    def write(self, events: Sequence[Event], tokens: int) -> None:
        """Takes events, so many tokens among them, to be confirmed later. Raises StaleFence once
        another is the owner.
        """
        if self._fault is not None:
            raise self._fault
        self._written += tokens
        self._gathered.append((events, self._written))
        if self._flight is None and self._beginning is None:
            self._send()

    async def settle(self, seconds: float | None) -> bool:
        """Waits until all is confirmed, but not for longer than that; whether it is.

        Raises StaleFence.
        """
        if not self.settled:
            try:
                async with asyncio.timeout(seconds):
                    while not self.settled and self._fault is None:
                        await self._change()
            except TimeoutError:
                return False
        if self._fault is not None:
            raise self._fault
        return self._position is not None

    def interrupt(self) -> None:
        """A log that is about to begin is not waited for any longer."""
        if self._opening is not None:
            self._opening.cancel()

    def close(self) -> None:
        """Gives up whatever is not confirmed."""
        self._give_up()

    def forget(self) -> None:
        """To be called after `close`, by whose callbacks these are: both would hold each other, and
        all of the question, until the garbage collector came by.
        """
        self._text = str
        self._fitted = self._tell_lost = _gone

    async def _begin(self, first: Callable[[], Event]) -> str | None:
        generation = self._generation
        while True:
            abort_by = None if self._open else await self._raise_epoch()
            self._open = False
            covered = self._written
            self._gathered.clear()  # it is in what is begun with
            try:
                self._position = await self._opened(self._epoch, first())
            except PositionConflict:
                # The log is ahead of the database, as behind an older backup of that.
                _log.warning("stream.epoch_passed_over", generation_id=generation.id)
                first = self._all
                continue
            self._confirmed = covered
            return abort_by

    async def _raise_epoch(self) -> str | None:
        generation = self._generation
        epoch = await self._store.begin_epoch(generation.id, generation.fence, self._fitted())
        self._epoch = epoch.number
        return epoch.abort_by

    async def _opened(self, epoch: int, first: Event) -> Position:
        generation = self._generation
        opening = self._log.begin(generation.id, epoch, generation.fence, first)
        self._opening = opening
        try:
            return await opening
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                opening.cancel()
                raise
            raise RunnelError(Code.STREAM_UNAVAILABLE, "The log has not begun.") from None
        finally:
            self._opening = None

    def _all(self) -> Event:
        return Reset(self._text())

    def _send(self) -> None:
        while self._gathered and self._flight is self._beginning is self._fault is None:
            assert self._position is not None
            events, upto = self._next()
            flight = self._log.append(
                self._generation.id, self._generation.fence, self._position, events
            )
            if flight.done():
                self._landed(upto, flight)
            else:
                self._flight = flight
                flight.add_done_callback(partial(self._arrived, upto))

    def _next(self) -> tuple[Sequence[Event], int]:
        """What is to be appended together, and how many tokens are written with it."""
        if len(self._gathered) == 1:
            return self._gathered.pop()
        events: list[Event] = []
        upto = characters = count = 0
        for more, upto in self._gathered:  # noqa: B007 - of the last that is taken
            events += more
            count += 1
            characters += sum(len(event.text) for event in more if isinstance(event, Token))
            if characters >= _BATCH_CHARACTERS:
                break
        del self._gathered[:count]
        return events, upto

    def _arrived(self, upto: int, flight: asyncio.Future[Position]) -> None:
        if flight is not self._flight:
            return  # of an epoch that is over
        self._flight = None
        self._landed(upto, flight)
        self._send()
        self._changed()

    def _landed(self, upto: int, flight: asyncio.Future[Position]) -> None:
        """`upto` tokens of the text were written when it was sent."""
        if flight.cancelled():  # the log was closed
            return
        error = flight.exception()
        if error is None:
            self._position = flight.result()
            self._confirmed = upto
        elif isinstance(error, LogMissing | PositionConflict):
            _log.warning("stream.lost", generation_id=self._generation.id, why=str(error))
            self._beginning = asyncio.create_task(self._begin_again())
        else:
            self._fail(error)

    async def _begin_again(self) -> None:
        try:
            while True:
                try:
                    await self._begin(self._all)
                    break
                except RunnelError:  # the database is away too
                    await asyncio.sleep(_STORE_PAUSE)
        except Exception as error:  # noqa: BLE001 - whoever writes next is told
            self._fail(error)
        finally:
            if self._beginning is asyncio.current_task():
                self._beginning = None
        self._send()
        self._changed()

    def _fail(self, error: BaseException) -> None:
        self._fault = error if isinstance(error, Exception) else StaleFence(str(error))
        self._gathered.clear()
        self._tell_lost()

    def _give_up(self) -> None:
        flight, self._flight = self._flight, None
        beginning, self._beginning = self._beginning, None
        self._gathered.clear()
        if flight is not None:
            flight.cancel()
        if beginning is not None:
            beginning.cancel()

    async def _change(self) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def _changed(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)


def _gone() -> Any:
    """Nobody is there any more to be asked or told. Any: whatever was asked for."""
