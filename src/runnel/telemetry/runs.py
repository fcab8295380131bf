"""The run log: `RUNS_DIR/<run_id>/`, one line for every generation that ended.

A thread of its own writes it. Nobody waits for that, and no fault of the disk reaches an answer.
"""

import secrets
import threading
import time
from collections.abc import Callable, Collection, Container, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
import structlog

from runnel.chat.entities import Generation
from runnel.events import Usage
from runnel.telemetry.run_folder import RunFolder

_log = structlog.stdlib.get_logger()
#: Questions and answers that wait to be written have at most so many characters, twice over: as
#: many again may be being written.
_MOST_CHARACTERS: Final = 32 * 1024 * 1024
#: So many sessions and users are remembered whose answers, if any come late, are not written.
_MOST_FORGOTTEN: Final = 10_000
#: How long the end of the server waits for what is not written yet.
_CLOSE_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.02
Loss = Literal["queue_full", "not_written"]


def new_run_id(moment: datetime) -> str:
    """Sorts by time."""
    return f"{moment:%Y%m%dT%H%M%S.%fZ}-{secrets.token_hex(3)}"


def encoded(members: Mapping[str, object]) -> bytes:
    return orjson.dumps(members, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line, before it is encoded. `texts` is empty, or the question and the answer."""

    members: Mapping[str, object]
    texts: tuple[str, ...]
    session_id: str
    user_id: str

    @property
    def weight(self) -> int:
        return sum(map(len, self.texts))

    def without(self, ids: Container[str]) -> "_Entry":
        """Without its texts, if it is of one of these sessions or users."""
        concerned = self.session_id in ids or self.user_id in ids
        return replace(self, texts=()) if concerned else self


class RunLog:
    """`ended` may be called from any thread, and never waits nor raises. `close` it in the end.

    At most `waiting` lines wait; those that find no room are `lost`, as are those that cannot be
    written. `texts`: lines hold the questions and the answers too.
    """

    def __init__(
        self,
        folder: RunFolder,
        *,
        waiting: int,
        texts: bool,
        conceal: Callable[[str], str],
        lost: Callable[[Loss], None],
    ) -> None:
        self._folder = folder
        self._most = waiting
        self._texts = texts
        self._conceal = conceal
        self._lost = lost
        self._entries: list[_Entry | Future[None]] = []
        self._weight = 0
        self._forgotten: dict[str, None] = {}  # in the order in which they were
        self._closing = False
        self._failing = False
        self._changed = threading.Condition()
        # A disk that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="run-log", daemon=True)

    def open(self) -> None:
        """Begins to write. A folder that cannot be written is tried again with each line."""
        self._thread.start()

    def ended(self, generation: Generation, question: str) -> None:
        texts = (question, generation.text) if self._texts else ()
        entry = _Entry(_members(generation), texts, generation.session_id, generation.user_id)
        with self._changed:
            entry = entry.without(self._forgotten)
            room = not self._entries or self._weight + entry.weight <= _MOST_CHARACTERS
            taken = room and len(self._entries) < self._most and not self._closing
            if taken:
                self._entries.append(entry)
                self._weight += entry.weight
                self._changed.notify()
        if not taken:
            self._lost("queue_full")

    def forget(self, ids: Collection[str]) -> Future[None]:
        """From now on no line of these sessions, or users, has texts.

        Done once all is written that was being written: that may have some.
        """
        written = Future[None]()
        if not self._texts:
            written.set_result(None)
            return written
        with self._changed:
            self._forgotten |= dict.fromkeys(ids)
            while len(self._forgotten) > _MOST_FORGOTTEN:
                del self._forgotten[next(iter(self._forgotten))]
            self._entries = [
                entry.without(self._forgotten) if isinstance(entry, _Entry) else entry
                for entry in self._entries
            ]
            self._weight = sum(entry.weight for entry in self._entries if isinstance(entry, _Entry))
            self._entries.append(written)
            self._changed.notify()
        return written

    def close(self) -> None:
        """Writes what waits, for a while at most."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(_CLOSE_SECONDS)
        if self._thread.is_alive():
            _log.warning("run_log.not_flushed", folder=str(self._folder.path))

    def _run(self) -> None:
        self._guarded(self._folder.open)
        while entries := self._taken():
            for entry in entries:
                if isinstance(entry, Future):
                    if entry.set_running_or_notify_cancel():
                        entry.set_result(None)
                elif not self._guarded(lambda entry=entry: self._write(entry)):
                    self._lost("not_written")
            # Lines that come meanwhile wake nobody: to wake a thread for each costs the loop more
            # than the line.
            time.sleep(_PAUSE_SECONDS)
        self._guarded(self._folder.close)

    def _taken(self) -> "list[_Entry | Future[None]]":
        """All that waits; empty once it is closed and nothing does."""
        with self._changed:
            self._changed.wait_for(lambda: self._entries or self._closing)
            entries, self._entries, self._weight = self._entries, [], 0
        return entries

    def _write(self, entry: _Entry) -> None:
        members = dict(entry.members)
        if entry.texts:
            question, answer = map(self._conceal, entry.texts)
            members |= {"question": question, "answer": answer}
        self._folder.append(encoded(members))

    def _guarded(self, work: Callable[[], None]) -> bool:
        """Whether it went well. Says so once when it does not, and once when it does again."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - the outermost frame: the next line must come
            if not self._failing:
                why = error.strerror if isinstance(error, OSError) else repr(error)
                _log.error("run_log.not_written", folder=str(self._folder.path), why=why)
            self._failing = True
            return False
        if self._failing:
            _log.info("run_log.written_again", folder=str(self._folder.path))
        self._failing = False
        return True


def _members(generation: Generation) -> dict[str, object]:
    # forgetting.py finds lines by their session and user, and texts behind all else.
    failure = generation.failure
    return {
        "time": datetime.now(UTC),
        "generation_id": generation.id,
        "session_id": generation.session_id,
        "user_id": generation.user_id,
        "message_id": generation.message_id,
        "alias": generation.model,
        "provider": generation.provider,
        "model": generation.provider_model,
        "status": generation.status,
        "finish_reason": generation.finish_reason,
        "latency_ms": generation.latency_ms,
        "first_token_ms": generation.first_token_ms,
        "usage": generation.usage and _usage(generation.usage),
        "error": failure and {"code": failure.code, "message": failure.message},
    }


def _usage(usage: Usage) -> dict[str, Any]:
    members: dict[str, Any] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "source": usage.source,
    }
    return members if usage.cost is None else members | {"cost": usage.cost}
