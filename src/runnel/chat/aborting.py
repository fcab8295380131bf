"""Aborts answers wherever they are made: the row is marked, its owner told, its end awaited."""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from typing import Final, NoReturn, Protocol

from runnel.chat.orders import AbortAllAsked, AbortAsked, Ended, Kept, Order, Orders
from runnel.chat.outcomes import aborted
from runnel.chat.ports import Seen
from runnel.chat.running import Running
from runnel.errors import RunnelError

#: How often rows are looked at for an end of which no word has come.
_LOOK_SECONDS: Final = 0.25


class AbortStore(Protocol):
    """Raises RunnelError `store_unavailable`."""

    async def request_abort(self, user_id: str, generation_id: str, by: str) -> Seen | None:
        """Marks a user's own live generation to be aborted, and says how it stood."""
        ...

    async def request_aborts(
        self, by: str, *, user_id: str | None = None, session_id: str | None = None
    ) -> Collection[str]:
        """Marks all that is live of a user, or in a session; which these are."""
        ...

    async def keep(self, generation_id: str) -> None:
        """A generation needs no reader any more."""
        ...

    async def see_all(self, generation_ids: Collection[str]) -> Collection[Seen]:
        """How generations stand; those that do not exist are left out."""
        ...


class Aborting:
    """What is made here is stopped at once. `shared`: others may be made by other instances."""

    def __init__(
        self, store: AbortStore, running: Running, orders: Orders, *, shared: bool
    ) -> None:
        self._store = store
        self._running = running
        self._orders = orders
        self._shared = shared
        self._awaited = defaultdict[str, set[asyncio.Event]](set)

    async def listen(self) -> NoReturn:
        """Does what other instances order, until it is cancelled."""
        with self._orders.hearing(self._hear):
            await asyncio.Event().wait()  # which nobody sets
        raise AssertionError

    async def abort(self, user_id: str, generation_id: str, *, seconds: float) -> Seen | None:
        """Aborts a user's own answer, and awaits its end for so long; how it stood before.

        None if the user has no such generation. Raises RunnelError `store_unavailable`.
        """
        # Before anything else: it costs, and the database may be away.
        self._running.abort(user_id, generation_id, "user")
        seen = await self._store.request_abort(user_id, generation_id, "user")
        if seen is None or seen.end is not None:
            return seen
        if self._running.abort(user_id, generation_id, "user"):
            await self._running.await_end(generation_id, seconds)
        elif self._shared:
            self._orders.publish(AbortAsked(generation_id, "user"))
            await self._ends({generation_id}, seconds)
        else:
            # Its producer, which is about to be, finds the request.
            await self._running.await_beginnings(seconds)
            await self._running.await_end(generation_id, seconds)
        return seen

    async def abort_user(self, user_id: str, by: str, *, seconds: float) -> None:
        """Aborts all that is being made for a user, and what is about to be; awaits their ends,
        but for not much longer than that. Raises RunnelError `store_unavailable`.
        """
        await self._running.abort_all(user_id, by, seconds=seconds)
        if self._shared:
            elsewhere = await self._store.request_aborts(by, user_id=user_id)
            await self._reach(AbortAllAsked(user_id, None, by), elsewhere, seconds)

    async def abort_session(self, session_id: str, by: str, *, seconds: float) -> None:
        """The same for a session."""
        await self._running.abort_session(session_id, by, seconds=seconds)
        if self._shared:
            elsewhere = await self._store.request_aborts(by, session_id=session_id)
            await self._reach(AbortAllAsked(None, session_id, by), elsewhere, seconds)

    async def keep(self, generation_id: str) -> None:
        """An answer, wherever it is made, needs no reader any more. Raises `store_unavailable`."""
        self._running.keep(generation_id)
        if self._shared:
            await self._store.keep(generation_id)
            self._orders.publish(Kept(generation_id))

    def abandon(self, user_id: str, generation_id: str) -> None:
        """Aborts an answer at once whose one reader has gone."""
        if not self._running.abort(user_id, generation_id, "disconnect") and self._shared:
            self._running.own(self._abandon(user_id, generation_id))

    async def _abandon(self, user_id: str, generation_id: str) -> None:
        await self._store.request_abort(user_id, generation_id, "disconnect")
        self._orders.publish(AbortAsked(generation_id, "disconnect"))

    async def _reach(
        self, order: AbortAllAsked, generation_ids: Collection[str], seconds: float
    ) -> None:
        if generation_ids:
            self._orders.publish(order)
            await self._ends(set(generation_ids), seconds)

    async def _ends(self, generation_ids: set[str], seconds: float) -> None:
        """Until these have ended, or are gone."""
        ended = asyncio.Event()
        for generation_id in generation_ids:
            self._awaited[generation_id].add(ended)
        try:
            async with asyncio.timeout(seconds):
                left = generation_ids
                while left:
                    await _set(ended, _LOOK_SECONDS)
                    ended.clear()
                    left = await self._live(left)
        except TimeoutError:
            return
        finally:
            for generation_id in generation_ids:
                self._awaited[generation_id].discard(ended)
                if not self._awaited[generation_id]:
                    del self._awaited[generation_id]

    async def _live(self, generation_ids: set[str]) -> set[str]:
        try:
            return {each.id for each in await self._store.see_all(generation_ids) if not each.end}
        except RunnelError:
            return generation_ids

    def _hear(self, order: Order) -> None:
        match order:
            case AbortAsked(generation_id, by):
                self._running.stop(generation_id, aborted(by))
            case AbortAllAsked(user_id, session_id, by):
                self._running.stop_all(aborted(by), user_id=user_id, session_id=session_id)
            case Kept(generation_id):
                self._running.keep(generation_id)
            case Ended(generation_id):
                for event in self._awaited.get(generation_id, ()):
                    event.set()
            case _:
                return


async def _set(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
