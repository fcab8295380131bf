"""Generations and what is asked, as frozen values with their legal transitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from runnel.errors import Code
from runnel.events import (
    Aborted,
    End,
    Failed,
    FinishReason,
    Position,
    Start,
    Terminal,
    Usage,
)

Role = Literal["user", "assistant", "system"]


class Status(StrEnum):
    """The states of a generation. A terminal one is final."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    ABORTED = "aborted"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def terminal(self) -> bool:
        return self not in LIVE


#: The states that may still change: queued → running → a terminal one, or queued → a terminal one.
LIVE: Final = frozenset({Status.QUEUED, Status.RUNNING})


@dataclass(frozen=True, slots=True)
class Turn:
    """One message as a model or a client gives it."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Params:
    """How the model is to answer. None leaves it to the alias or the provider."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    json_mode: bool = False


@dataclass(frozen=True, slots=True)
class SessionRef:
    """Which session is meant: an id that must exist, or a name made on first use, or a new one."""

    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class AskKey:
    """What makes a question that is sent again harmless: the client's key, and what was asked.

    `fingerprint` is equal for equal questions only.
    """

    text: str
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of one user.

    `history` is what the client gives to begin a session with, before the question; None if it
    goes on with what is stored. `needs_reader`: it is aborted once nobody follows it any more.
    """

    user_id: str
    text: str
    session: SessionRef = SessionRef()
    history: Sequence[Turn] | None = None
    model: str | None = None
    params: Params = Params()
    key: AskKey | None = None
    needs_reader: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an answer broke off. `retry_after` in seconds, if the provider named a time."""

    code: Code
    message: str
    retryable: bool
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """The making of one answer, as the store keeps it.

    `position` is that of the last event known to the store: of the last checkpoint while it
    runs, of the terminal event afterwards, None before anything was written. `text` is exactly
    the text up to there. Times in milliseconds.
    """

    id: str
    user_id: str
    session_id: str
    message_id: str
    user_message_id: str
    model: str
    provider: str
    provider_model: str
    status: Status
    fence: int
    created_at: datetime
    text: str = ""
    position: Position | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    aborted_by: str | None = None
    first_token_ms: int | None = None
    latency_ms: int | None = None

    @property
    def end(self) -> Position | None:
        """The terminal position; None while it is live."""
        return self.position if self.status.terminal else None

    def start(self) -> Start:
        return Start(
            generation_id=self.id,
            session_id=self.session_id,
            message_id=self.message_id,
            user_message_id=self.user_message_id,
            model=self.model,
        )

    def terminal(self) -> Terminal:
        """The event that ends this generation's stream. Raises ValueError while it is live."""
        match self.status:
            case Status.COMPLETED if self.finish_reason and self.usage:
                return End(
                    finish_reason=self.finish_reason,
                    usage=self.usage,
                    model=self.model,
                    provider=self.provider,
                    provider_model=self.provider_model,
                    text_length=len(self.text),
                    latency_ms=self.latency_ms or 0,
                    first_token_ms=self.first_token_ms,
                )
            case Status.ABORTED if self.usage:
                return Aborted(by=self.aborted_by or "user", usage=self.usage)
            case Status.FAILED | Status.INTERRUPTED if self.failure:
                return Failed(self.failure.code, self.failure.message, self.failure.retryable)
            case _:
                raise ValueError(f"generation {self.id} has not ended: {self.status}")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a generation ended, before it is known whether this end is the one that holds."""

    status: Status
    text: str
    position: Position
    usage: Usage
    finish_reason: FinishReason | None = None
    failure: Failure | None = None
    aborted_by: str | None = None
    first_token_ms: int | None = None
    latency_ms: int | None = None


INTERRUPTED: Final = Failure(
    Code.INTERRUPTED, "The server stopped before the answer was whole. Ask again.", retryable=True
)
