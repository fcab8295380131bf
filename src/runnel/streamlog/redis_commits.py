"""Group commit: while one group of steps is on its way to Redis, the next gathers.

And for a moment longer, if the last went just now: each call costs much, each step in it little. What
somebody waits for who sees nothing yet, or no more, goes at once.

The same group is sent until it is known what became of it; each step has a nonce that makes the
second time harmless. In a group a log has one step at most, so that the nonce of a log's last step
tells whether it was this one.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson

from runnel.chat.ports import LogMissing, PositionConflict, StaleFence
from runnel.events import Batch, Position
from runnel.streamlog.redis_keys import Keys
from runnel.streamlog.redis_link import AWAY, Link, Script, pauses
from runnel.streamlog.redis_presence import Presence

#: At least between two groups, unless one has what cannot wait. Most models speak less often.
_GATHER_SECONDS: Final = 0.005
#: How much one group has.
_MOST_STEPS: Final = 256
_MOST_BYTES: Final = 1024 * 1024
_DONE: Final = 0
_REFUSALS: Final = {1: LogMissing, 2: PositionConflict, 3: StaleFence}
_SCRIPT: Final = Script("commit")

Result = asyncio.Future[Position]


@dataclass(slots=True, eq=False)
class Step:
    """One change of one log. `batch` is what it adds, None where it drops the log.

    `after` is the offset behind which it stands, -1 where it begins an epoch.
    """

    kind: Literal["begin", "append", "drop"]
    generation_id: str
    fence: int
    done: Result
    batch: Batch | None = None
    after: int = -1
    entry: str = ""
    nonce: str = field(default="")
    last: Position = field(init=False)  # of its batch: asked for more than once

    def __post_init__(self) -> None:
        self.last = Position(0, 0) if self.batch is None else self.batch.last

    @property
    def ends(self) -> bool:
        return self.batch is not None and self.batch.events[-1].terminal

    @property
    def urgent(self) -> bool:
        """Whether it is more than a few words that follow others: those are the beginning of a log,
        what is behind its first event, its end.
        """
        return self.after < 1 or self.ends

    def as_told(self) -> tuple[str | int | bool, ...]:
        """As the script reads it."""
        last = self.last
        return (
            *(self.kind, self.generation_id, self.fence, self.nonce),
            *(last.epoch, self.after, last.offset, self.ends, self.entry),
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
        self._waiting: dict[str, deque[Step]] = {}  # by log, whose turn it is first
        self._group: Sequence[Step] = ()
        self._news: asyncio.Future[None] | None = None
        self._gathering = False  # whether only what is urgent is news
        self._due = 0.0  # by the loop's clock: from then on whatever is there goes
        self._urgent = False  # whether something is there that goes before
        #: Set while nothing is on its way.
        self.idle = asyncio.Event()
        self.failing = False

    def add(self, step: Step) -> None:
        """It will be taken, in whatever state Redis is; whether anybody still waits or not."""
        self._count += 1
        step.nonce = f"{self._instance}{self._count:x}"
        steps = self._waiting.get(step.generation_id)
        if steps is None:
            steps = self._waiting[step.generation_id] = deque()
        steps.append(step)
        if step.urgent:
            self._urgent = True
        self.idle.clear()
        if self._news is not None and (self._urgent or not self._gathering):
            _wake(self._news)

    async def run(self) -> None:
        """Until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            # What a run that failed has left goes first: its steps' writers wait.
            if not self._group:
                self._group = await self._gathered()
            self._due = loop.time() + _GATHER_SECONDS
            answer = await self._answer(self._group)
            for step, status in zip(self._group, answer[1:], strict=True):
                self._tell(step, status)
            self._group = ()
            self._weighed(answer[0])

    def give_up(self) -> None:
        """Nobody will ever know."""
        for step in (*self._group, *(step for steps in self._waiting.values() for step in steps)):
            step.done.cancel()

    async def _gathered(self) -> Sequence[Step]:
        """The next group, when it is time for it."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            self.idle.set()
            self._news = loop.create_future()
            await self._news
        if not self._urgent and loop.time() < self._due:
            self._news, self._gathering = loop.create_future(), True
            timer = loop.call_at(self._due, _wake, self._news)
            await self._news
            timer.cancel()
        self._news, self._gathering = None, False
        return self._next_group()

    def _next_group(self) -> Sequence[Step]:
        group: list[Step] = []
        size = 0
        for generation_id, steps in tuple(self._waiting.items()):
            size += len(steps[0].entry)
            if group and (size > _MOST_BYTES or len(group) == _MOST_STEPS):
                break
            group.append(steps.popleft())
            del self._waiting[generation_id]
            if steps:
                self._waiting[generation_id] = steps  # behind all others
        self._urgent = bool(self._waiting)  # what found no room has waited enough
        return group

    async def _answer(self, group: Sequence[Step]) -> Sequence[int]:
        """What Redis says of a group, however long that takes."""
        keys = [*self._keys.accounts]
        for step in group:
            keys += (self._keys.log(step.generation_id), self._keys.meta(step.generation_id))
        # As one argument: each by itself would cost more than what the step does otherwise.
        steps = orjson.dumps([step.as_told() for step in group])
        for pause in pauses():
            try:
                answer = await self._link.run(_SCRIPT, keys, *self._kept, steps)
            except AWAY as error:
                self.failing = True
                self._presence.lost(error, again=pause > 0)
                await asyncio.sleep(pause)
            else:
                self.failing = False
                self._presence.back()
                return answer
        raise AssertionError  # the pauses have no end

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


def _wake(news: asyncio.Future[None]) -> None:
    if not news.done():
        news.set_result(None)
