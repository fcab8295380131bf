"""The live producers of this instance: started, watched, checkpointed, aborted, drained."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Generator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

import structlog

from runnel.chat.attendance import Attendance
from runnel.chat.audiences import Audiences
from runnel.chat.entities import Generation
from runnel.chat.orders import Ended, HandedBack, Orders
from runnel.chat.outcomes import Outcome, aborted, interrupted
from runnel.chat.ports import Store, StreamLog
from runnel.chat.producer import Producer
from runnel.errors import Code, RunnelError

_log = structlog.stdlib.get_logger()
_T = TypeVar("_T")
#: Which generations are stopped, and how.
_Stop = tuple[Callable[[Generation], bool], Outcome]

#: How long a stopped answer may take to be stored before whoever stopped it goes on.
END_WAIT_SECONDS: Final = 10.0
#: Over how long the readers of a drain are sent away: they all come back, to others.
_SPREAD_SECONDS: Final = 1.0


class Running:
    """Owns every task that makes an answer; one loop checkpoints them all together.

    `shared`: there are other instances; `hands_back`: what a drain leaves unfinished they go on
    with.
    """

    def __init__(
        self,
        store: Store,
        log: StreamLog,
        audiences: Audiences,
        attendance: Attendance,
        orders: Orders,
        *,
        checkpoint_seconds: float,
        shared: bool = False,
        hands_back: bool = False,
    ) -> None:
        self._store = store
        self._log = log
        self._audiences = audiences
        self._attendance = attendance
        self._orders = orders
        self._checkpoint_seconds = checkpoint_seconds
        self._shared = shared
        self._hands_back = hands_back
        self._producers: dict[asyncio.Task[None], Producer] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        # What is about to have a producer, or an end, and what is stopped meanwhile.
        self._held: dict[str, list[_Stop]] = {}
        self._closing = False
        self._ending = False  # the grace is over
        self._unfinished: list[str] = []
        self._drained = False

    def __len__(self) -> int:
        return len(self._producers)

    @property
    def closing(self) -> bool:
        """Whether the drain has begun."""
        return self._closing

    def fences(self) -> Mapping[str, int | None]:
        """What is made here, and with which fence; None: it has no producer yet."""
        made = [producer.generation for producer in self._producers.values()]
        return {**dict.fromkeys(self._held), **{each.id: each.fence for each in made}}

    @contextmanager
    def holding(self, generation_id: str) -> Generator[None]:
        """Inside, a generation counts as made here, though it has no producer yet: one that starts
        finds itself stopped if it should have been since.
        """
        self._held[generation_id] = []
        try:
            yield
        finally:
            self._held.pop(generation_id, None)

    def refuse_if_closing(self) -> None:
        """Raises RunnelError `shutting_down` once the drain has begun."""
        if self._closing:
            raise _restarting()

    def made_elsewhere(self, generation_id: str) -> bool:
        """Whether another instance may be making it."""
        return self._shared and not self.makes(generation_id)

    def refuse_if_elsewhere(self, generation_id: str) -> None:
        """Raises the same for what another instance makes: there it can be followed longer."""
        if self._closing and self.made_elsewhere(generation_id):
            raise _restarting()

    def own(self, work: Coroutine[None, None, _T]) -> "asyncio.Task[_T]":
        """A task that no connection can cancel; the drain waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            # Whoever began it may have left; then nobody else looks at how it went.
            task.exception()

    def start(self, producer: Producer, *, needs_reader: bool = False) -> None:
        """Runs a producer to its end; if it needs a reader, only as long as it has one."""
        if needs_reader:
            self._audiences.expect(producer.generation.id)
        task = self.own(producer.run())
        self._producers[task] = producer
        task.add_done_callback(self._ended)
        for which, outcome in self._held.get(producer.generation.id, ()):
            if which(producer.generation):
                producer.stop(outcome)
        if self._ending:
            self._end(producer)

    def keep(self, generation_id: str) -> None:
        """The answer needs no reader any more."""
        self._audiences.forget(generation_id)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        producer = self._producers.pop(task)
        self._audiences.forget(producer.generation.id)
        if producer.stopped:
            self.tell_ended(producer.generation.id)

    def tell_ended(self, generation_id: str) -> None:
        """Whoever waits for this end, on whatever instance, need not wait any longer."""
        self._orders.publish(Ended(generation_id))

    def stop(self, generation_id: str, outcome: Outcome) -> None:
        """Ends what is made here, whosever it is."""
        self._stop_one(generation_id, lambda made: made.id == generation_id, outcome)

    def stop_all(
        self, outcome: Outcome, *, user_id: str | None = None, session_id: str | None = None
    ) -> None:
        """The same for all of a user, or of a session."""
        self._stop_some(lambda made: made.user_id == user_id, outcome)
        self._stop_some(lambda made: made.session_id == session_id, outcome)

    def lose(self, generation_id: str, fence: int | None) -> None:
        """Another instance makes it by now, unless it has come back meanwhile with another fence."""
        lost = self._chosen(lambda made: (made.id, made.fence) == (generation_id, fence))
        for producer in lost.values():
            producer.lose()

    def abort(self, user_id: str, generation_id: str, by: str) -> bool:
        """Aborts a user's generation at once, if it is made here; whether it is."""
        return self._stop_one(
            generation_id,
            lambda made: (made.id, made.user_id) == (generation_id, user_id),
            aborted(by),
        )

    async def await_end(self, generation_id: str, seconds: float) -> None:
        """Awaits the end of a generation that is made here, but not for longer than that."""
        if chosen := self._chosen(lambda made: made.id == generation_id):
            await asyncio.wait(chosen, timeout=seconds)

    async def await_beginnings(self, seconds: float) -> None:
        """Until the questions that are being written down now have their producers."""
        if beginning := self._tasks - self._producers.keys():
            await asyncio.wait(beginning, timeout=seconds)

    async def abort_all(self, user_id: str, by: str, *, seconds: float) -> None:
        """Aborts all that is being made for a user, and what is about to be.

        Waits for the one and for the other, but for neither longer than that.
        """
        await self.await_beginnings(seconds)
        await self._stop(lambda made: made.user_id == user_id, aborted(by), seconds=seconds)

    async def abort_session(self, session_id: str, by: str, *, seconds: float) -> None:
        """The same for what is being made, or about to be, in a session."""
        await self.await_beginnings(seconds)
        await self._stop(lambda made: made.session_id == session_id, aborted(by), seconds=seconds)

    def makes(self, generation_id: str) -> bool:
        """Whether it is being made here."""
        return bool(self._chosen(lambda made: made.id == generation_id))

    async def watch(self) -> None:
        """Each `checkpoint_seconds`, until cancelled: checkpoints, and what has gone on too long."""
        while True:
            await asyncio.sleep(self._checkpoint_seconds)
            try:
                for producer in self._producers.values():
                    producer.enforce_deadlines()
                await self._stop_deserted()
                self._log.tidy()
                await self._checkpoint()
            except Exception:  # noqa: BLE001 - the outermost frame: the next round must come
                _log.exception("watch.failed")

    async def drain(self, grace_seconds: float) -> None:
        """Takes no more, gives what runs `grace_seconds` to finish, then hands the rest back, or
        interrupts it.

        Whose end is not stored then, its readers are let go; a second drain does not wait.
        """
        self._closing = True
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_seconds
        if self._producers and grace_seconds:
            _log.info("drain.waits", answers=len(self._producers), grace_seconds=grace_seconds)
        # A question that came in just before still begins its answer.
        await self._idle(until)
        self._ending = True
        for producer in tuple(self._producers.values()):
            self._end(producer)
        # One that took longer to be written down has its end here, too.
        await self._idle(loop.time() + (0 if self._drained else END_WAIT_SECONDS))
        if self._hands_back and self._unfinished:
            self._orders.publish(HandedBack())
        await self._send_away(self._unfinished)
        self._drained = True

    async def _idle(self, until: float) -> None:
        """Until nothing is made any more, nor about to be, but not for longer."""
        loop = asyncio.get_running_loop()
        while self._tasks and (left := until - loop.time()) > 0:
            await asyncio.wait(self._tasks, timeout=left)

    def _end(self, producer: Producer) -> None:
        self._unfinished.append(producer.generation.id)
        if self._hands_back and not producer.stateless:
            producer.hand_back()
        else:
            producer.stop(interrupted())

    async def _send_away(self, generation_ids: Collection[str]) -> None:
        """The readers of what has no end here; where others go on with it, not all at once."""
        for number, generation_id in enumerate(generation_ids):
            if self._hands_back and not self._drained and number:
                await asyncio.sleep(_SPREAD_SECONDS / len(generation_ids))
            self._log.hide(generation_id)

    async def close(self) -> None:
        """Cancels what even a drain has not ended; the next start finds it and interrupts it."""
        self._closing = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _checkpoint(self) -> None:
        unsaved = [
            (producer, checkpoint)
            for producer in self._producers.values()
            if (checkpoint := producer.unsaved()) is not None
        ]
        if not unsaved:
            return
        try:
            await self._store.checkpoint([checkpoint for _, checkpoint in unsaved])
        except RunnelError:
            _log.warning("checkpoint.not_stored")  # the next one takes it along
            return
        for producer, _ in unsaved:
            producer.saved()

    async def _stop_deserted(self) -> None:
        deserted = set(await self._attendance.deserted())
        for producer in self._producers.values():
            if producer.generation.id in deserted:
                producer.stop(aborted("disconnect"))

    async def _stop(
        self,
        which: Callable[[Generation], bool],
        outcome: Outcome,
        *,
        seconds: float,
    ) -> None:
        if self._stop_some(which, outcome):
            await asyncio.wait(self._chosen(which), timeout=seconds)

    def _stop_one(
        self, generation_id: str, which: Callable[[Generation], bool], outcome: Outcome
    ) -> bool:
        if generation_id in self._held:
            self._held[generation_id].append((which, outcome))
        return self._stop_now(which, outcome)

    def _stop_some(self, which: Callable[[Generation], bool], outcome: Outcome) -> bool:
        for stops in self._held.values():
            stops.append((which, outcome))
        return self._stop_now(which, outcome)

    def _stop_now(self, which: Callable[[Generation], bool], outcome: Outcome) -> bool:
        """Whether any has a producer that could be stopped."""
        chosen = self._chosen(which)
        for producer in chosen.values():
            producer.stop(outcome)
        return bool(chosen)

    def _chosen(self, which: Callable[[Generation], bool]) -> "dict[asyncio.Task[None], Producer]":
        return {task: made for task, made in self._producers.items() if which(made.generation)}


def _restarting() -> RunnelError:
    return RunnelError(
        Code.SHUTTING_DOWN, "The server is restarting. Ask again shortly.", retry_after=1
    )
