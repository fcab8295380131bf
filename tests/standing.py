# pyright: reportPrivateUsage=false
"""A server and a stand-in provider that the tests of a module share: a prompt chooses the answer."""

import shutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from itertools import count
from json import dumps
from pathlib import Path
from typing import Any

import httpx

import postgres
from provider import Answer, Provider
from runnel.chat.ports import StreamLog
from runnel.streamlog.memory import MemoryLog
from runnel.streamlog.redis import RedisLog
from serving import LiveServer, Signed, settings_for
from waiting import until
from wire import query as of_the_database

Json = dict[str, Any]
Serve = Callable[..., LiveServer]
Answering = Answer | Callable[[Json], Answer]


class Standing:
    """Both of them, and a user of the server."""

    def __init__(self, server: LiveServer, provider: Provider) -> None:
        self.server = server
        self.provider = provider
        self._answers: dict[str, Answering] = {}
        self._numbers = count(1)
        provider.answer("test", self._answer)
        self.user: Signed = server.user("ana")
        # One for all: to make one takes longer than to ask.
        self.client = httpx.Client(base_url=server.url, headers=self.user.headers, timeout=30)

    def prompt(self, answer: Answering) -> str:
        """A question that gets this answer, and that nobody else asks."""
        prompt = f"question {next(self._numbers)}"
        self._answers[prompt] = answer
        return prompt

    def ask(self, path: str, answer: Answering, **body: Any) -> httpx.Response:
        """Asks with a prompt of its own; the response, wholly read."""
        return self.client.post(path, json={"message": self.prompt(answer)} | body)

    def generation(self, generation_id: str) -> Json:
        """What the API shows of a generation."""
        response = self.client.get(f"/api/generations/{generation_id}")
        assert response.status_code == 200, response.text
        return response.json()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What stands in the database."""
        return of_the_database(self.server, query)

    def left_live(self) -> list[tuple[Any, ...]]:
        """The generations that have not ended."""
        return self.rows("SELECT id FROM generations WHERE status IN ('queued', 'running')")

    @property
    def log(self) -> MemoryLog:
        """The stream log inside the server."""
        log = self.server.server.parts.chat._log
        assert isinstance(log, MemoryLog)
        return log

    def held(self) -> dict[str, int]:
        """What the server holds for answers and their readers: all zero when it is idle."""
        parts = self.server.server.parts
        running = parts.chat._running
        return {
            "producers": len(running._producers),
            "tasks": len(running._tasks),
            "readers": _logs_with_readers(parts.chat._log),
            "holdings": len(parts.watch._by_user) + len(parts.watch._by_login),
        }

    @property
    def followers(self) -> int:
        """How many readers follow an answer."""
        return len(self.server.server.parts.chat._followers)

    def ended(self, generation_id: str) -> tuple[Any, ...]:
        """State, text, code of the failure, and who aborted it, as the database holds them.

        Empty if it holds nothing of it.
        """
        found = self.rows(
            "SELECT status, content, error_code, aborted_by FROM generations"  # noqa: S608 - an id of ours
            " JOIN messages ON messages.id = generations.message_id"
            f" WHERE generations.id = '{generation_id}'"
        )
        return found[0] if found else ()

    @contextmanager
    def gate_closed(self) -> Generator[None]:
        """Inside, gated answers wait; afterwards all of them have ended."""
        self.provider.hold()
        yield
        self.provider.release()
        until(lambda: self.held()["producers"] == 0)
        self.provider.at_gate.wait_at_most(0)

    def _answer(self, ask: Json) -> Answer:
        answer = self._answers[ask["messages"][-1]["content"]]
        return answer if isinstance(answer, Answer) else answer(ask)


def _logs_with_readers(log: StreamLog) -> int:
    if isinstance(log, MemoryLog):
        return len(log._waiting)
    assert isinstance(log, RedisLog)
    return sum(bool(mirror.readers) for mirror in log._mirrors.values())


@contextmanager
def locked(stand: Standing) -> Generator[None]:
    """Another process writes to the database meanwhile."""
    url = stand.server.settings.database_url
    if url.startswith("postgresql"):
        with postgres.locked(url):
            yield
        return
    file = stand.server.settings.data_dir / "runnel.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def standing(migrated: Path, folder: Path, **changes: Any) -> Generator[Standing]:
    """Starts both. The alias `chat/test` is the only one there is."""
    shutil.copy(migrated, folder / "runnel.db")
    with Provider() as provider:
        alias = {"provider": "openai", "model": "test", "base_url": provider.url}
        (folder / "models.json").write_text(dumps({"aliases": {"chat/test": alias}}))
        with LiveServer(settings_for(folder, **changes)) as server:
            there = Standing(server, provider)
            with there.client:
                yield there
