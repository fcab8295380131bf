"""Keeps what this instance makes its own, and finds what others have let go."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

import structlog

from runnel.chat.orders import HandedBack, Order, Orders
from runnel.chat.outcomes import aborted
from runnel.chat.running import Running
from runnel.chat.takeover import Taken
from runnel.errors import RunnelError

_log = structlog.stdlib.get_logger()
#: How many answers one look takes over; then others may have some, and the next look comes at once.
_MOST_A_LOOK: Final = 20
#: Leases are renewed so many times in their life: two may fail.
_RENEWALS: Final = 3


@dataclass(frozen=True, slots=True)
class Held:
    """A generation whose lease was renewed, and what was asked of it by way of its row."""

    generation_id: str
    abort_by: str | None
    needs_reader: bool


class LeaseStore(Protocol):
    """Raises RunnelError `store_unavailable`."""

    async def renew(self, owner: str, ids: Collection[str], seconds: float) -> Sequence[Held]:
        """Those of these that are live and the owner's still: their leases begin anew."""
        ...

    async def take_over(
        self, owner: str, seconds: float, most: int, *, expired: bool
    ) -> Sequence[Taken]:
        """Makes generations the owner's that were given back; those whose lease is over too, if
        `expired`.
        """
        ...


class Leases:
    """The leases of this instance, which the store calls `owner`; `resume` goes on with what is
    taken over, in a task that is not waited for.
    """

    def __init__(
        self,
        store: LeaseStore,
        running: Running,
        orders: Orders,
        *,
        owner: str,
        lease_seconds: float,
        resume: Callable[[Taken], Coroutine[Any, Any, None]],
    ) -> None:
        self._store = store
        self._running = running
        self._orders = orders
        self._owner = owner
        self._lease_seconds = lease_seconds
        self._resume = resume
        self._look_now = asyncio.Event()
        # While the database was away nobody could renew: who was there before is given the time.
        self._answers_since: float | None = time.monotonic()

    async def watch(self) -> NoReturn:
        """Renews and looks, until it is cancelled."""
        with self._orders.hearing(self._hear):
            async with asyncio.TaskGroup() as both:
                both.create_task(self._renew_for_ever())
                both.create_task(self._look_for_ever())
        raise AssertionError

    async def renew(self) -> None:
        """One renewal. What is another's by now is lost to its producer; what was asked of a row
        is done. Raises RunnelError `store_unavailable`.
        """
        fences = self._running.fences()
        if not fences:
            return
        held = {
            each.generation_id: each
            for each in await self._store.renew(self._owner, fences, self._lease_seconds)
        }
        for generation_id, fence in fences.items():
            mine = held.get(generation_id)
            if mine is None:
                self._running.lose(generation_id, fence)
                continue
            if mine.abort_by is not None:
                self._running.stop(generation_id, aborted(mine.abort_by))
            if not mine.needs_reader:
                self._running.keep(generation_id)

    async def look(self) -> bool:
        """Takes over what there is, up to a bound; whether there may be more. Raises
        `store_unavailable`.
        """
        since = self._answers_since
        if since is None or self._running.closing:
            return False
        taken = await self._store.take_over(
            self._owner,
            self._lease_seconds,
            _MOST_A_LOOK,
            expired=time.monotonic() - since >= self._lease_seconds,
        )
        for each in taken:
            _log.info(
                "generation.taken_over_here",
                generation_id=each.generation.id,
                fence=each.generation.fence,
            )
            self._running.own(self._resume(each))
        return len(taken) == _MOST_A_LOOK

    def _hear(self, order: Order) -> None:
        if isinstance(order, HandedBack):
            self._look_now.set()

    async def _renew_for_ever(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._lease_seconds / _RENEWALS)
            try:
                await self.renew()
            except RunnelError:
                _log.warning("leases.not_renewed")
            except Exception:  # noqa: BLE001 - the outermost frame: the next round must come
                _log.exception("leases.renewal_failed")

    async def _look_for_ever(self) -> NoReturn:
        more = False
        while True:
            if not more:
                await self._pause()
            try:
                more = await self.look()
                if self._answers_since is None:
                    self._answers_since = time.monotonic()
            except RunnelError:
                more, self._answers_since = False, None
                _log.warning("leases.not_looked_up")
                await self._until_it_answers()
            except Exception:  # noqa: BLE001 - the outermost frame: the next look must come
                more = False
                _log.exception("leases.look_failed")

    async def _until_it_answers(self) -> None:
        while self._answers_since is None:
            await asyncio.sleep(self._lease_seconds / _RENEWALS)
            try:
                await self._store.renew(self._owner, (), self._lease_seconds)
            except RunnelError:
                continue
            self._answers_since = time.monotonic()

    async def _pause(self) -> None:
        # Not all at the same moment.
        seconds = self._lease_seconds / _RENEWALS * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        try:
            async with asyncio.timeout(seconds):
                await self._look_now.wait()
        except TimeoutError:
            return
        self._look_now.clear()
