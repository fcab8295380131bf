"""Channels: who is connected hears of each question of a session, or of a user, just once.

The bus tells of them at once, and may lose some; the store is looked at for those.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NoReturn, Protocol

import structlog

from runnel.chat.entities import SessionRef
from runnel.chat.notices import Asked, Bus, Notice, Typing
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


@dataclass(frozen=True, slots=True)
class Recent:
    """A question by its generation, with whatever tells whether somebody has heard of it."""

    generation_id: str
    user_id: str
    session_id: str
    live: bool
    asked_at: datetime


class ChannelStore(Protocol):
    """What channels read. Raises RunnelError `store_unavailable`."""

    async def open_session(self, user_id: str, ref: SessionRef) -> SessionState | None:
        """A user's session, made if it is named and new; None for an unknown id."""
        ...

    async def running_in(self, user_id: str, session_id: str) -> str | None:
        """The id of the generation that is being made in a user's session."""
        ...

    async def recent(self, user_ids: Collection[str], since: datetime) -> Sequence[Recent]:
        """What users asked since then, and whatever is live, oldest first; at most 500 users."""
        ...

    async def asked(self, generation_ids: Collection[str]) -> Sequence[Asked]:
        """The questions of generations, oldest first; at most 500."""
        ...


@dataclass(frozen=True, slots=True)
class Listener:
    """A connection. `tell` says whether it could take a question; what it could not, it is told
    again.
    """

    connection_id: str
    tell: Callable[[Asked], bool]
    tell_typing: Callable[[Typing], None]


class Channel:
    """One connection's place: in a session, or, without one, in all sessions of its user."""

    def __init__(self, user_id: str, session_id: str | None, listener: Listener) -> None:
        self.user_id = user_id
        self.session_id = session_id
        self._listener = listener
        self._known: dict[str, datetime] = {}
        self._untold: Sequence[Asked] = ()

    def knows(self, generation_id: str, asked_at: datetime) -> None:
        """It needs not be told of this one."""
        self._known[generation_id] = asked_at

    def tells_first(self, untold: Sequence[Asked]) -> None:
        """Before anything newer, it is told of these, unless it knows them by then."""
        self._untold = untold

    def lacks(self, recent: Recent) -> bool:
        return self._concerns(recent.session_id) and recent.generation_id not in self._known

    def hear(self, notice: Notice) -> None:
        if not self._concerns(notice.session_id):
            return
        if isinstance(notice, Typing):
            if notice.origin != self._listener.connection_id:
                self._listener.tell_typing(notice)
        else:
            untold, self._untold = self._untold, ()
            for asked in (*untold, notice):
                self._hear_of(asked)

    def _hear_of(self, asked: Asked) -> None:
        if asked.generation_id not in self._known and (
            # Whoever asked is answered by itself.
            asked.origin == self._listener.connection_id or self._listener.tell(asked)
        ):
            self.knows(asked.generation_id, asked.asked_at)

    def forget(self, before: datetime, still: Collection[str]) -> None:
        """What no look will find any more."""
        self._known = {
            generation_id: at
            for generation_id, at in self._known.items()
            if at >= before or generation_id in still
        }

    def _concerns(self, session_id: str) -> bool:
        return self.session_id is None or self.session_id == session_id


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
        self, stack: ExitStack, user_id: str, ref: SessionRef, listener: Listener
    ) -> tuple[Channel, SessionState]:
        """Joins a session's channel until the stack is closed, and says how the session stands.

        Whatever is running there is told at the next look, unless it is `known` by then: who
        comes in mid-answer may want to go on from where it was. Raises RunnelError `not_found`
        for an unknown id.
        """
        state = await self._store.open_session(user_id, ref)
        if state is None:
            raise RunnelError(Code.NOT_FOUND, "There is no such session.")
        channel = Channel(user_id, state.session_id, listener)
        self._join(stack, channel)
        live = await self._know_what_ended(channel)
        here = [each.generation_id for each in live if each.session_id == state.session_id]
        channel.tells_first(await self._store.asked(here) if here else ())
        # Once more: from now on what is begun is told, and so nothing falls between.
        now = await self._store.open_session(user_id, SessionRef(id=state.session_id))
        return channel, now or state

    async def user(self, stack: ExitStack, user_id: str, listener: Listener) -> Channel:
        """Joins a user's channel until the stack is closed; what is running is told at once."""
        channel = Channel(user_id, None, listener)
        self._join(stack, channel)
        live = await self._know_what_ended(channel)
        await self._tell_of(live, [channel])
        return channel

    def typing(self, notice: Typing) -> None:
        """Tells the others of a session's channel."""
        self._bus.publish(notice)

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
            await self._tell_of(recent, here)
            live = {each.generation_id for each in recent if each.live}
            for channel in here:
                channel.forget(since, live)
        self._looked = begun

    def _join(self, stack: ExitStack, channel: Channel) -> None:
        here = self._channels[channel.user_id]
        here.add(channel)
        stack.callback(self._leave, channel)
        stack.enter_context(self._bus.hearing(channel.user_id, channel.hear))

    def _leave(self, channel: Channel) -> None:
        here = self._channels[channel.user_id]
        here.discard(channel)
        if not here:
            del self._channels[channel.user_id]

    async def _know_what_ended(self, channel: Channel) -> Sequence[Recent]:
        """What had ended before is not news; the rest is returned."""
        since = min(self._looked, self._clock()) - _OVERLAP
        recent = await self._store.recent([channel.user_id], since)
        for each in recent:
            if not each.live:
                channel.knows(each.generation_id, each.asked_at)
        return [each for each in recent if each.live]

    async def _tell_of(self, recent: Iterable[Recent], channels: Collection[Channel]) -> None:
        by_user = defaultdict[str, list[Channel]](list)
        for channel in channels:
            by_user[channel.user_id].append(channel)
        lacking = {
            each.generation_id: [one for one in by_user[each.user_id] if one.lacks(each)]
            for each in recent
        }
        ids = [generation_id for generation_id, ones in lacking.items() if ones]
        for begin in range(0, len(ids), _ROWS_A_LOOK):
            for asked in await self._store.asked(ids[begin : begin + _ROWS_A_LOOK]):
                for channel in lacking[asked.generation_id]:
                    channel.hear(asked)
