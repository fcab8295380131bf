"""What one connection is being told: of one session, one answer behind the other."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Final

import structlog

from runnel.edge.sockets import CloseCode
from runnel.edge.ws.delivery import Delivery
from runnel.edge.ws.wire import ClosedError, Wire

_log = structlog.stdlib.get_logger()
#: How many answers that others asked for may be on their way to one connection.
_MOST: Final = 64
#: How long a close waits for what was read already.
_FLUSH_SECONDS: Final = 1.0


class Deliveries:
    """Owns their tasks, one a session while there is anything to tell. `on_idle`: all are told."""

    def __init__(self, wire: Wire, on_idle: Callable[[], None]) -> None:
        self._wire = wire
        self._on_idle = on_idle
        self._lanes: dict[str, deque[Delivery]] = {}
        self._by_generation: dict[str, Delivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = asyncio.Event()
        self._to_post: dict[str, Sequence[bytes]] = {}
        self._posting: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """What was added before is told from now on."""
        self._begun.set()

    def post(self, about: str, frames: Sequence[bytes]) -> None:
        """Sends what is not part of any answer; only the newest that is said about one thing."""
        self._to_post[about] = frames
        if self._posting is None or self._posting.done():
            self._posting = self._run(self._post())

    @property
    def idle(self) -> bool:
        return not self._by_generation

    @property
    def full(self) -> bool:
        """Whether what others asked has to wait for the next look."""
        return len(self._by_generation) >= _MOST

    def of(self, generation_id: str) -> Delivery | None:
        """The one that tells of a generation, or is about to."""
        return self._by_generation.get(generation_id)

    def only(self) -> Delivery | None:
        """The one there is."""
        return next(iter(self._by_generation.values()), None)

    def add(self, delivery: Delivery) -> None:
        """Tells it when everything before it of its session is told."""
        session_id = delivery.answer.asked.session_id
        self._by_generation[delivery.generation_id] = delivery
        lane = self._lanes.get(session_id)
        if lane is None:
            lane = self._lanes[session_id] = deque()
            self._run(self._tell_lane(session_id, lane))
        lane.append(delivery)

    def add_at_once(self, delivery: Delivery) -> None:
        """Tells it now, beside what else of its session is being told; that behind it waits."""
        if delivery.answer.asked.session_id not in self._lanes:
            self.add(delivery)
        else:
            self._by_generation[delivery.generation_id] = delivery
            self._run(self._tell(delivery))

    def leave(self) -> None:
        """The client has gone."""
        for delivery in self._end_lanes():
            delivery.leave()
        self.cancel()

    async def close(self) -> None:
        """Reads no more, and returns once what was read is told, or cannot be in time."""
        for delivery in self._end_lanes():
            delivery.close()
        if self._tasks and self._begun.is_set():
            await asyncio.wait(self._tasks, timeout=_FLUSH_SECONDS)
        self.cancel()

    def cancel(self) -> None:
        """Ends whatever still goes on."""
        for task in self._tasks:
            task.cancel()
        # One whose task has not begun yet will not say so itself.
        for delivery in self._by_generation.values():
            delivery.over.set()

    def _end_lanes(self) -> Sequence[Delivery]:
        """What waits is not begun any more; what is."""
        for lane in self._lanes.values():
            lane.clear()
        return tuple(self._by_generation.values())

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, ClosedError):
            _log.error("socket.delivery_failed", exc_info=error)
            self._wire.end(CloseCode.FAILED, "internal error")

    async def _post(self) -> None:
        await self._begun.wait()
        while self._to_post:
            await self._wire.send(self._to_post.pop(next(iter(self._to_post))))

    async def _tell_lane(self, session_id: str, lane: deque[Delivery]) -> None:
        try:
            while lane:
                await self._tell(lane.popleft())
        finally:
            del self._lanes[session_id]

    async def _tell(self, delivery: Delivery) -> None:
        try:
            await self._begun.wait()
            await delivery.run()
        finally:
            delivery.over.set()
            if self._by_generation.get(delivery.generation_id) is delivery:
                del self._by_generation[delivery.generation_id]
            if not self._by_generation:
                self._on_idle()
