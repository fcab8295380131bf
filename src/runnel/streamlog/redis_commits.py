"""Group commit: while one group of steps is on its way to Redis, the next gathers.

The same group is sent until it is known what became of it; each step has a nonce that makes the
second time harmless. In a group a log has one step at most, so that the nonce of a log's last step
tells whether it was this one.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import structlog
from redis.exceptions import NoScriptError

from runnel.chat.ports import LogMissing, PositionConflict, StaleFence
from runnel.events import Batch, Position
from runnel.streamlog.redis_keys import Keys
from runnel.streamlog.redis_link import AWAY, Argument, Link, Script, pauses
from runnel.streamlog.redis_presence import Presence

_log = structlog.stdlib.get_logger()
#: How much one group has.
_MOST_STEPS: Final = 256
_MOST_BYTES: Final = 1024 * 1024
_DONE: Final = 0
_REFUSALS: Final = {1: LogMissing, 2: PositionConflict, 3: StaleFence}
_SCRIPT: Final = Script("commit")
_NOWHERE: Final = Position(0, 0)

Result = asyncio.Future[Position]


@dataclass(slots=True, eq=False)
class Step:
    """One change of one log, which ends at `last` then. `batch` is what it adds, None where it drops
    the log.

    `after` is the offset behind which it stands, -1 where it begins an epoch.
    """

    kind: Literal["begin", "append", "drop"]
    generation_id: str
    fence: int
    done: Result
    last: Position = _NOWHERE
    batch: Batch | None = None
    after: int = -1
    entry: bytes = b""
    nonce: str = field(default="")

    def arguments(self) -> tuple[Argument, ...]:
        last, batch = self.last, self.batch
        return (
            self.kind,
            self.generation_id,
            self.fence,
            self.nonce,
            last.epoch,
            self.after,
            last.offset,
            1 if batch is not None and batch.events[-1].terminal else 0,
            self.entry,
        )


class Commits:
    """The steps of one instance, each log's in their order.

    `confirmed` and `refused` hear of each before whoever waits for it, `weighed` what all logs weigh.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        presence: Presence,
        *,
        running_seconds: float,
        retention_seconds: float,
        confirmed: Callable[[Step], None],
        refused: Callable[[Step], None],
        weighed: Callable[[int], None],
    ) -> None:
        self._link = link
        self._keys = keys
        self._presence = presence
        self._kept = (int(running_seconds * 1000), max(1, int(retention_seconds * 1000)))
        self._confirmed = confirmed
        self._refused = refused
        self._weighed = weighed
        self._instance = secrets.token_hex(8)
        self._count = 0
        self._waiting: dict[str, Step] = {}  # the next of each log, whose turn it is first
        self._behind: dict[str, deque[Step]] = {}  # what of a log comes then
        self._group: Sequence[Step] = ()
        #: Set while nothing is on its way.
        self.idle = asyncio.Event()
        self.idle.set()
        self._stuck = asyncio.Event()  # the group was not answered
        self._pauses = pauses()
        self._pause = 0.0
        self.failing = False

    def add(self, step: Step) -> None:
        """It will be taken, in whatever state Redis is; whether anybody still waits or not."""
        self._count += 1
        step.nonce = f"{self._instance}{self._count:x}"
        if step.generation_id in self._waiting:
            self._behind.setdefault(step.generation_id, deque()).append(step)
        else:
            self._waiting[step.generation_id] = step
        if self.idle.is_set():
            self.idle.clear()
            self._leave_soon()

    async def run(self) -> None:
        """Until it is cancelled: connects, and sends again what was not answered."""
        while True:
            await self._stuck.wait()
            await asyncio.sleep(self._pause)
            try:
                await self._link.connect()
            except AWAY as error:
                self._failed(error)
            else:
                self._stuck.clear()
                self._send()

    def give_up(self) -> None:
        """Nobody will ever know."""
        behind = (step for steps in self._behind.values() for step in steps)
        for step in (*self._group, *self._waiting.values(), *behind):
            step.done.cancel()

    def _next_group(self) -> Sequence[Step]:
        group: list[Step] = []
        size = 0
        for step in self._waiting.values():
            size += len(step.entry)
            if group and (size > _MOST_BYTES or len(group) == _MOST_STEPS):
                break
            group.append(step)
        for step in group:
            del self._waiting[step.generation_id]
            if self._behind:
                self._follow_up(step.generation_id)
        return group

    def _follow_up(self, generation_id: str) -> None:
        """A log's next step has its turn behind all others'."""
        steps = self._behind.get(generation_id)
        if steps is not None:
            self._waiting[generation_id] = steps.popleft()
            if not steps:
                del self._behind[generation_id]

    def _leave_soon(self) -> None:
        """What is ready in one turn of the loop goes together."""
        asyncio.get_running_loop().call_soon(self._leave)

    def _leave(self) -> None:
        self._group = self._next_group()
        if self._link.up:
            self._send()
        else:
            self._stuck.set()

    def _send(self) -> None:
        self._link.ask(_SCRIPT.known(*self._asked()), self._answered)

    def _asked(self) -> tuple[Sequence[str], Sequence[Argument]]:
        keys = [*self._keys.accounts]
        arguments: list[Argument] = [*self._kept]
        for step in self._group:
            keys += (self._keys.log(step.generation_id), self._keys.meta(step.generation_id))
            arguments += step.arguments()
        return keys, arguments

    def _answered(self, answer: Any) -> None:
        """What Redis says of the group, however long that took."""
        if isinstance(answer, NoScriptError):
            self._link.ask(_SCRIPT.told(*self._asked()), self._answered)
            return
        if isinstance(answer, AWAY):
            self._failed(answer)
            self._stuck.set()
            return
        if self.failing:
            self.failing, self._pause, self._pauses = False, 0.0, pauses()
        self._presence.back()
        group, self._group = self._group, ()
        for step, status in zip(group, answer[1:], strict=True):
            try:
                self._tell(step, status)
            except Exception:  # noqa: BLE001 - the others' steps are done all the same
                _log.exception("streams.work_failed")
        self._weighed(answer[0])
        if self._waiting:
            self._leave_soon()  # behind those who have just been told, and may have more
        else:
            self.idle.set()

    def _failed(self, error: BaseException) -> None:
        self._presence.lost(error, again=self.failing)
        self.failing = True
        self._pause = next(self._pauses)

    def _tell(self, step: Step, status: int) -> None:
        if status == _DONE:
            self._confirmed(step)
            if not step.done.done():
                step.done.set_result(step.last)
            return
        refused = _REFUSALS[status](f"{step.generation_id} behind {step.after}")
        self._refused(step)
        if not step.done.done():
            step.done.set_exception(refused)
