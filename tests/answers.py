"""What the chat core's tests work with: a real store and log, and a model that does as it is told."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Self

from runnel.accounts.passwords import random_password
from runnel.chat.aborting import Aborting
from runnel.chat.attempt import Bounds
from runnel.chat.attendance import Attendance
from runnel.chat.audiences import Audiences
from runnel.chat.checking import AskRules
from runnel.chat.choosing import Chosen, Found
from runnel.chat.entities import Ask, Generation, Params, SessionRef, Turn
from runnel.chat.following import Follower, Followers
from runnel.chat.making import Making
from runnel.chat.model_ports import AliasState, Candidates, ListedModel, Model, Piece
from runnel.chat.places import Places
from runnel.chat.ports import Begun, LogReader, Store
from runnel.chat.retrying import Retries
from runnel.chat.running import Running
from runnel.chat.service import ChatService
from runnel.chat.terms import Terms
from runnel.control.memory import MemoryBus, MemoryPresence
from runnel.events import Event, Terminal, Usage
from runnel.files.folder import Folder
from runnel.store.accounts import SqlAccountStore
from runnel.store.chat import ChatStore
from runnel.store.engine import Database
from runnel.store.ids import now
from runnel.store.indexing import Indexing
from runnel.streamlog.memory import MemoryLog

BOUNDS = Bounds(
    first_token_seconds=30,
    idle_seconds=30,
    total_seconds=30,
    store_retry_seconds=30,
    log_retry_seconds=30,
    max_bytes=1_000_000,
    max_events=100_000,
    retries=Retries(0, 1),
)


#: Of a model that takes all params of ours.
TERMS = Terms(
    takes=frozenset({"temperature", "top_p", "max_tokens", "seed", "stop", "json_mode", "images"}),
    context_tokens=10_000,
)


class ToldModel:
    """Implements chat.model_ports.Model: yields what is put, raises what is put, ends at None."""

    provider = "told"
    provider_model = "told-1"

    def __init__(self, alias: str = "chat/told", *, terms: Terms = TERMS) -> None:
        self.alias = alias
        self.terms = terms
        self.places = Places(None)
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


def unpriced(_: str, usage: Usage) -> Usage:
    """What a usage costs where there are no prices."""
    return usage


class TheseModels:
    """Implements chat.model_ports.Catalog: whatever is named, these are asked, in their order."""

    def __init__(self, models: Sequence[Model], *, restarts: bool) -> None:
        self._candidates = Candidates(models, restarts)
        self.default = models[0].alias

    def candidates(self, name: str | None) -> Candidates:
        del name
        return self._candidates

    def listed(self) -> Sequence[ListedModel]:
        return ()

    def states(self) -> Sequence[AliasState]:
        return ()

    def priced(self, alias: str, usage: Usage) -> Usage:
        del alias
        return usage


class Observed:
    """Implements chat.ports.Observer: keeps what it is told."""

    def __init__(self) -> None:
        self.generations: list[Generation] = []
        self.resumes = 0
        self.resets: list[str] = []
        self.retries: list[str] = []
        self.passed: list[tuple[str, str]] = []
        self.gaps: list[float] = []
        self.questions: list[str] = []

    def ended(self, generation: Generation, question: str) -> None:
        self.generations.append(generation)
        self.questions.append(question)

    def waited(self, model: str, seconds: float) -> None:
        del model
        self.gaps.append(seconds)

    def passed_on(self, model: str, code: str) -> None:
        self.passed.append((model, code))

    def resumed(self) -> None:
        self.resumes += 1

    def reset(self, reason: str) -> None:
        self.resets.append(reason)

    def retried(self, code: str) -> None:
        self.retries.append(code)


class Chat:
    """A chat core over a database, by its address or its file, with one user."""

    def __init__(
        self, database: Path | str, *, store: Callable[[Store], Store] = lambda store: store
    ) -> None:
        url = database if isinstance(database, str) else f"sqlite+aiosqlite:///{database}"
        self.database = Database(url, pool_size=5, timeout_seconds=5)
        self.indexing = Indexing(self.database)
        self.store = store(ChatStore(self.database, self.indexing, history_max_messages=100))
        self.log = MemoryLog(retention_seconds=60, total_bytes=10**9, page_bytes=10**6)
        self.model = ToldModel()
        self.others: list[ToldModel] = []  # that stand in for it
        self.restarts = False  # whether they begin anew what broke off
        self.observed = Observed()
        audiences = Audiences(grace_seconds=5)
        self.followers = Followers(self.store, audiences, self.observed, silence_seconds=3600)
        self.bus = MemoryBus()
        self.running = Running(
            self.store,
            self.log,
            audiences,
            Attendance(audiences, MemoryPresence(), grace_seconds=5),
            self.bus.orders,
            checkpoint_seconds=3600,
        )
        self.user_id = ""

    def service(self, bounds: Bounds = BOUNDS) -> ChatService:
        return ChatService(
            owner="this-instance",
            making=Making(
                catalog=TheseModels([self.model, *self.others], restarts=self.restarts),
                store=self.store,
                files=Folder(Path("attachments")),
                log=self.log,
                bounds=bounds,
                observer=self.observed,
            ),
            store=self.store,
            log=self.log,
            running=self.running,
            aborting=Aborting(self.store, self.running, self.bus.orders, shared=False),
            followers=self.followers,
            bus=self.bus,
            rules=AskRules(
                max_message_length=100,
                abort_wait_seconds=10,
                max_attachments=10,
            ),
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

    def choose(self, _: Found) -> Chosen:
        """Who is asked, whatever is; what they are to be given is not known yet."""
        return Chosen(Candidates([self.model, *self.others], self.restarts))

    async def begin(self, ask: Ask) -> Begun:
        """Writes down a question that was not asked before."""
        begun = await self.store.begin_ask(ask, self.choose, "me")
        assert isinstance(begun, Begun)
        return begun

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
