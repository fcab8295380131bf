"""Channels: who is connected hears of each question of a session, or of a user, just once.

The bus tells of them at once, and may lose some; the store is looked at for those.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol

import structlog

from runnel.chat.channel import Channel, Listener, Recent
from runnel.chat.entities import SessionRef
from runnel.chat.notices import Asked, Bus, Typing
from runnel.chat.sessions.refs import unknown_session
from runnel.chat.sessions.values import NOBODY_KNOWN, ClientInfo
from runnel.errors import Code, RunnelError
from runnel.events import Position

_log = structlog.stdlib.get_logger()
#: Each look sees this much again: clocks differ, and commits come after their timestamps.
_OVERLAP: Final = timedelta(seconds=30)
#: Of how many users, and how many questions, one query reads.
_ROWS_A_LOOK: Final = 500


@dataclass(frozen=True, slots=True)
class RunningAnswer:
    """What is being made in a session. `position` is the last that is stored of it, if any is."""

    generation_id: str
    message_id: str
    position: Position | None


@dataclass(frozen=True, slots=True)
class SessionState:
    """How a session stands. `last_message_id` is that of its active branch."""

    session_id: str
    last_message_id: str | None
    running: RunningAnswer | None


class ChannelStore(Protocol):
    """What channels read. Raises RunnelError `store_unavailable`."""

    async def open_session(
        self, user_id: str, ref: SessionRef, client: ClientInfo = NOBODY_KNOWN
    ) -> SessionState | None:
        """A user's session, made if it is named and new; None for an unknown id."""
        ...

    async def find_session(self, user_id: str, ref: SessionRef) -> SessionState | None:
        """The same, but none is made."""
        ...

    async def running_in(self, user_id: str, session_id: str) -> str | None:
        """The id of the generation that is being made in a user's session."""
        ...

    async def there(self, session_ids: Collection[str]) -> Collection[str]:
        """Which of some sessions there are; at most 500."""
        ...

    async def recent(self, user_ids: Collection[str], since: datetime) -> Sequence[Recent]:
        """What users asked since then, and whatever is live, oldest first; at most 500 users."""
        ...

    async def asked(self, generation_ids: Collection[str]) -> Sequence[Asked]:
        """The questions of generations, oldest first; at most 500."""
        ...


class Channels:
    """The channels of this instance."""

    def __init__(
        self,
        store: ChannelStore,
        bus: Bus,
        *,
        heartbeat_seconds: float,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._bus = bus
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._channels = defaultdict[str, set[Channel]](set)
        self._looked = clock()

    async def session(
        self,
        stack: ExitStack,
        user_id: str,
        ref: SessionRef,
        listener: Listener,
        *,
        client: ClientInfo = NOBODY_KNOWN,
        admit_new: Callable[[], Awaitable[None]],
    ) -> tuple[Channel, SessionState]:
        """Joins a session's channel until the stack is closed, and says how the session stands.

        Whatever is running there is told at the next look, unless it is `known` by then: who
        comes in mid-answer may want to go on from where it was. Raises RunnelError `not_found`
        for an unknown id, and what `admit_new` raises before one is made.
        """
        state = await self._store.find_session(user_id, ref)
        if state is None and ref.name is not None:
            await admit_new()
            state = await self._store.open_session(user_id, ref, client)
        if state is None:
            raise unknown_session()
        channel = Channel(user_id, state.session_id, listener)
        live = await self._join(stack, channel)
        here = [each.generation_id for each in live if each.session_id == state.session_id]
        channel.begin(await self._store.asked(here) if here else ())
        # Once more: from now on what is begun is told, and so nothing falls between.
        now = await self._store.find_session(user_id, SessionRef(id=state.session_id))
        if now is None:  # purged meanwhile
            raise unknown_session()
        return channel, now

    async def user(self, stack: ExitStack, user_id: str, listener: Listener) -> Channel:
        """Joins a user's channel until the stack is closed; what is running is told at once."""
        channel = Channel(user_id, None, listener)
        live = await self._join(stack, channel)
        await self._tell_of(live, [channel])
        channel.begin()
        return channel

    def typing(self, notice: Typing) -> None:
        """Tells the others of a session's channel."""
        self._bus.publish(notice)

    async def asked_in(self, channel: Channel, generation_id: str) -> Asked:
        """A question of a channel by its generation. Raises RunnelError `not_found`."""
        found = await self._store.asked([generation_id])
        for asked in found:
            if (asked.user_id, asked.session_id) == (channel.user_id, channel.session_id):
                return asked
        raise RunnelError(Code.NOT_FOUND, "There is no such generation in this session.")

    async def running_in(self, user_id: str, session_id: str) -> str | None:
        """The id of the generation that is being made in a user's session."""
        return await self._store.running_in(user_id, session_id)

    async def watch(self) -> NoReturn:
        """Looks at each heartbeat, until it is cancelled."""
        while True:
            await asyncio.sleep(self._heartbeat_seconds)
            try:
                await self.look()
            except RunnelError:
                _log.warning("channels.not_looked_up")  # the next look makes up for it
            except Exception:  # noqa: BLE001 - the outermost frame: the next look must come
                _log.exception("channels.look_failed")

    async def look(self) -> None:
        """Whatever the bus has not told is told from the store. Raises `store_unavailable`."""
        begun = self._clock()
        since = self._looked - _OVERLAP
        users = list(self._channels)
        for begin in range(0, len(users), _ROWS_A_LOOK):
            some = users[begin : begin + _ROWS_A_LOOK]
            recent = await self._store.recent(some, since)
            here = [channel for user_id in some for channel in self._channels.get(user_id, ())]
            waiting = [each for channel in here for each in channel.waiting]
            await self._tell_of([*recent, *waiting], here)
            live = {each.generation_id for each in recent if each.live}
            for channel in here:
                channel.forget(since, live)
        await self._look_for_sessions()
        self._looked = begun

    async def _look_for_sessions(self) -> None:
        by_session = defaultdict[str, list[Channel]](list)
        for here in self._channels.values():
            for channel in here:
                if channel.session_id is not None:
                    by_session[channel.session_id].append(channel)
        ids = list(by_session)
        for begin in range(0, len(ids), _ROWS_A_LOOK):
            some = ids[begin : begin + _ROWS_A_LOOK]
            for gone in {*some} - {*await self._store.there(some)}:
                for channel in by_session[gone]:
                    channel.lose()

    async def _join(self, stack: ExitStack, channel: Channel) -> Sequence[Recent]:
        """From now on it hears. What had ended before is not news; what is live is returned."""
        stack.enter_context(self._bus.hearing(channel.user_id, channel.hear))
        since = min(self._looked, self._clock()) - _OVERLAP
        recent = await self._store.recent([channel.user_id], since)
        for each in recent:
            if not each.live:
                channel.knows(each.generation_id, each.asked_at)
        # Only now: a look in between would have told it what had ended.
        self._channels[channel.user_id].add(channel)
        stack.callback(self._leave, channel)
        return [each for each in recent if each.live]

    def _leave(self, channel: Channel) -> None:
        here = self._channels[channel.user_id]
        here.discard(channel)
        if not here:
            del self._channels[channel.user_id]

    async def _tell_of(self, recent: Iterable[Recent], channels: Iterable[Channel]) -> None:
        by_user = defaultdict[str, list[Channel]](list)
        for channel in channels:
            by_user[channel.user_id].append(channel)
        lacking = {
            each.generation_id: each
            for each in recent
            if any(channel.lacks(each) for channel in by_user[each.user_id])
        }
        in_order = sorted(lacking.values(), key=lambda each: (each.asked_at, each.generation_id))
        for begin in range(0, len(in_order), _ROWS_A_LOOK):
            some = in_order[begin : begin + _ROWS_A_LOOK]
            ids = {each.generation_id for each in some}
            found = defaultdict[str, list[Asked]](list)
            for asked in await self._store.asked(ids):
                found[asked.user_id].append(asked)
            for user_id in {each.user_id for each in some}:
                here = self._channels.get(user_id, ())
                # Without those that have left meanwhile.
                for channel in [one for one in by_user[user_id] if one in here]:
                    channel.catch_up(ids, found[user_id])
