"""Channels over a real store and bus, devices that hear of them, and questions to tell."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta

from typing_extensions import override

from answers import Chat
from runnel.chat.channel import Channel, Listener, Recent
from runnel.chat.channels import Channels, ChannelStore, SessionState
from runnel.chat.entities import Ask, Ending, Generation, SessionRef, Status
from runnel.chat.notices import Asked, Typing
from runnel.errors import Code, RunnelError
from runnel.events import Position, Usage
from runnel.store.channels import SqlChannels
from runnel.store.ids import now

HOUR = timedelta(hours=1)


async def admitted() -> None:
    """Whoever makes a new session may."""


class Device:
    """A listener that keeps what it is told, as much of it as it has room for."""

    def __init__(self, name: str = "device") -> None:
        self.name = name
        self.room = 1000
        self.asked: list[Asked] = []
        self.typing: list[Typing] = []
        self.lost = 0
        self.listener = Listener(name, self._tell, self.typing.append, self._lose)

    @property
    def questions(self) -> list[str]:
        return [asked.question for asked in self.asked]

    def _lose(self) -> None:
        self.lost += 1

    def _tell(self, asked: Asked) -> bool:
        if len(self.asked) >= self.room:
            return False
        self.asked.append(asked)
        return True


class Store(SqlChannels):
    """The real one, whose `recent` may be held up, or be away."""

    away = False

    def __init__(self, chat: Chat) -> None:
        super().__init__(chat.database)
        self.held: asyncio.Event | None = None
        self.holding = asyncio.Event()

    def hold(self) -> asyncio.Event:
        """The next answer of `recent` waits for the event; `holding` says that it does."""
        self.held = asyncio.Event()
        self.holding.clear()
        return self.held

    @override
    async def recent(self, user_ids: Collection[str], since: datetime) -> Sequence[Recent]:
        if self.away:
            raise RunnelError(Code.STORE_UNAVAILABLE, "away")
        found = await super().recent(user_ids, since)
        held, self.held = self.held, None
        if held is not None:
            self.holding.set()
            await held.wait()
        return found


class House:
    """Channels, and the questions they are to tell of. `later` is how far the clock is ahead."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.store = Store(chat)
        self.later = timedelta()
        self.stack = ExitStack()
        self.channels = self.of(self.store)

    def of(self, store: ChannelStore, heartbeat_seconds: float = 3600) -> Channels:
        return Channels(
            store,
            self.chat.bus,
            heartbeat_seconds=heartbeat_seconds,
            clock=lambda: now() + self.later,
        )

    async def ask(self, text: str, session: str = "s", **changes: object) -> Generation:
        """One that is live, and of which nobody is told."""
        ask = replace(self.chat.question(text, session), **changes)
        return (await self.chat.store.begin_ask(ask, self.chat.choose, "me")).generation

    async def tell(self, text: str, session: str = "s", origin: str | None = None) -> Generation:
        """One that is live, and of which the bus tells."""
        generation = await self.ask(text, session)
        self.publish(generation, self.chat.question(text, session), origin)
        return generation

    def publish(self, generation: Generation, ask: Ask, origin: str | None = None) -> None:
        self.chat.bus.publish(Asked.of(generation, replace(ask, origin=origin)))

    async def end(self, generation: Generation) -> None:
        ending = Ending(
            status=Status.ABORTED,
            text="",
            position=Position(1, 1),
            usage=Usage(1, 1, "estimated"),
            aborted_by="user",
        )
        assert await self.chat.store.finish(generation.id, 1, ending)

    async def session(
        self, device: Device, name: str = "s", stack: ExitStack | None = None
    ) -> tuple[Channel, SessionState]:
        return await self.channels.session(
            stack or self.stack,
            self.chat.user_id,
            SessionRef(name=name),
            device.listener,
            admit_new=admitted,
        )

    async def user(self, device: Device, stack: ExitStack | None = None) -> Channel:
        return await self.channels.user(stack or self.stack, self.chat.user_id, device.listener)
