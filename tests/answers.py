"""What the chat core's tests work with: a real store and log, and a model that does as it is told."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Self

from runnel.accounts.passwords import random_password
from runnel.chat.audiences import Audiences
from runnel.chat.entities import Ask, Generation, Params, SessionRef, Turn
from runnel.chat.following import Follower, Followers
from runnel.chat.ports import ListedModel, LogReader, Model, Piece, Store
from runnel.chat.producer import Bounds
from runnel.chat.retrying import Retries
from runnel.chat.running import Running
from runnel.chat.service import AskRules, ChatService
from runnel.events import Event, Terminal
from runnel.store.accounts import SqlAccountStore
from runnel.store.chat import ChatStore
from runnel.store.engine import Database
from runnel.store.ids import now
from runnel.streamlog.memory import MemoryLog

BOUNDS = Bounds(
    first_token_seconds=30,
    idle_seconds=30,
    total_seconds=30,
    store_retry_seconds=30,
    max_bytes=1_000_000,
    max_events=100_000,
    retries=Retries(0, 1),
)


class ToldModel:
    """Implements chat.ports.Model: yields what is put, raises what is put, ends at None."""

    alias = "chat/told"
    provider = "told"
    provider_model = "told-1"

    def __init__(self) -> None:
        self.told: asyncio.Queue[Sequence[Piece] | Exception | None] = asyncio.Queue()
        self.asked: list[tuple[Sequence[Turn], Params]] = []
        self.closed = asyncio.Event()

    def say(self, *texts: str) -> None:
        """Each text is a batch of its own."""
        for text in texts:
            self.told.put_nowait([Piece(text)])

    def finish(self) -> None:
        self.told.put_nowait([Piece(finish_reason="stop")])
        self.told.put_nowait(None)

    async def stream(
        self, turns: Sequence[Turn], params: Params
    ) -> AsyncGenerator[Sequence[Piece]]:
        self.asked.append((turns, params))
        try:
            while (told := await self.told.get()) is not None:
                if isinstance(told, Exception):
                    raise told
                yield told
        finally:
            self.closed.set()


class OneModel:
    """Implements chat.ports.Catalog with one model."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.default = model.alias

    def resolve(self, name: str | None) -> Model:
        del name
        return self._model

    def listed(self) -> Sequence[ListedModel]:
        return ()


class Observed:
    """Implements chat.ports.Observer: keeps what it is told."""

    def __init__(self) -> None:
        self.generations: list[Generation] = []
        self.resumes = 0
        self.resets: list[str] = []
        self.retries: list[str] = []

    def ended(self, generation: Generation) -> None:
        self.generations.append(generation)

    def resumed(self) -> None:
        self.resumes += 1

    def reset(self, reason: str) -> None:
        self.resets.append(reason)

    def retried(self, code: str) -> None:
        self.retries.append(code)


class Chat:
    """A chat core over a database file, with one user."""

    def __init__(
        self, file: Path, *, store: Callable[[Store], Store] = lambda store: store
    ) -> None:
        self.database = Database(f"sqlite+aiosqlite:///{file}", pool_size=5, timeout_seconds=5)
        self.store = store(ChatStore(self.database, history_max_messages=100))
        self.log = MemoryLog(retention_seconds=60, total_bytes=10**9, page_bytes=10**6)
        self.model = ToldModel()
        self.observed = Observed()
        audiences = Audiences(grace_seconds=5)
        self.followers = Followers(self.store, audiences, self.observed, silence_seconds=3600)
        self.running = Running(self.store, self.log, audiences, checkpoint_seconds=3600)
        self.user_id = ""

    def service(self, bounds: Bounds = BOUNDS) -> ChatService:
        return ChatService(
            owner="this-instance",
            catalog=OneModel(self.model),
            store=self.store,
            log=self.log,
            running=self.running,
            followers=self.followers,
            rules=AskRules(
                max_message_length=100,
                history_max_tokens=10_000,
                system_prompt=None,
                temperature=None,
                abort_wait_seconds=10,
            ),
            bounds=bounds,
            observer=self.observed,
        )

    async def __aenter__(self) -> Self:
        user = await SqlAccountStore(self.database).add_user(
            "ana", random_password(), "user", now()
        )
        assert user is not None
        self.user_id = user.id
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.running.close()
        await self.database.close()

    def question(self, text: str = "why?", session: str | None = None) -> Ask:
        return Ask(user_id=self.user_id, text=text, session=SessionRef(name=session))

    @property
    def ended(self) -> list[Generation]:
        return self.observed.generations

    async def follow(self, asked: Generation) -> Follower:
        return await self.service().follow(asked)

    async def stored(self, generation: Generation) -> Generation:
        found = await self.store.generation(self.user_id, generation.id)
        assert found is not None
        return found


async def read_to_end(reader: LogReader | Follower) -> list[Event]:
    """All events up to the terminal one."""
    events: list[Event] = []
    while batches := await reader.next():
        events += [event for batch in batches for event in batch.events]
        if events[-1].terminal:
            return events
    return events


async def read_end(reader: LogReader | Follower) -> Terminal:
    """The terminal event."""
    last = (await read_to_end(reader))[-1]
    assert last.type in ("end", "aborted", "failed")
    return last  # pyright: ignore[reportReturnType] - narrowed by its type's name
