"""Generations and what is asked, as frozen values with their legal transitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal

from runnel.chat.sessions.values import NOBODY_KNOWN, ClientInfo
from runnel.errors import Code
from runnel.events import (
    Aborted,
    End,
    Failed,
    FinishReason,
    Position,
    Start,
    Terminal,
    ToolCall,
    Usage,
)

Role = Literal["user", "assistant", "system", "tool"]


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
class Image:
    """A picture in a message, by its URL: `https:`, or `data:` with the picture itself."""

    url: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of a user's, without its bytes; `name` is what it was called, never a path.

    A picture has a `width` and a `height` in pixels; a document has `characters` of text. It
    belongs to the session `session_id`, once it was used there.
    """

    id: str
    name: str
    media_type: str
    bytes: int
    width: int | None
    height: int | None
    characters: int | None
    created_at: datetime
    session_id: str | None = None

    @property
    def is_image(self) -> bool:
        return self.width is not None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message as a model or a client gives it.

    `parts` is the content in its order where it is more than text; `text` is then the text in
    it. An assistant's turn may call tools; a tool's turn answers the call `tool_call_id`. `name`
    tells apart who speaks in one role. `attachments` are what was stored with it, and not yet
    in its parts.
    """

    role: Role
    text: str
    parts: Sequence[str | Image] = ()
    tool_calls: Sequence[ToolCall] = ()
    tool_call_id: str | None = None
    name: str | None = None
    attachments: Sequence[Attachment] = ()

    @property
    def images(self) -> bool:
        return any(isinstance(part, Image) for part in self.parts)


@dataclass(frozen=True, slots=True)
class Params:
    """How the model is to answer. None, and no `stop`, leave it to the alias or the provider.

    `passed` is what only OpenAI's wire has words for (`tools`, `response_format`, ...), as it
    came.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: Sequence[str] = ()
    json_mode: bool | None = None
    passed: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def given(self) -> dict[str, Any]:
        """What is not left to others, by its name."""
        named = ((name, getattr(self, name)) for name in _PARAMS)
        return {name: value for name, value in named if value not in (None, ())} | {**self.passed}

    def over(self, defaults: "Params") -> "Params":
        """These, and what they leave open as the defaults say."""
        merged = defaults.given() | self.given()
        return Params(
            **{name: value for name, value in merged.items() if name in _PARAMS},
            passed={name: value for name, value in merged.items() if name not in _PARAMS},
        )


_PARAMS: Final = tuple(one.name for one in fields(Params) if one.name != "passed")


@dataclass(frozen=True, slots=True)
class SessionRef:
    """Which session is meant: an id that must exist, or a name made on first use, or a new one."""

    id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class AskKey:
    """What makes a question that is sent again harmless: the client's key, and what was asked.

    `fingerprint` is equal for equal questions only, in whatever session; `session` is where.
    """

    text: str
    fingerprint: str = ""
    session: SessionRef = SessionRef()

    def is_of(self, session_id: str, session_name: str | None) -> bool:
        """Whether it was, or may have been, asked there: by id, by name, or without either."""
        return (
            self.session == SessionRef()
            or self.session.id == session_id
            or (session_name is not None and self.session.name == session_name)
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """One question of one user.

    `history` is what the client gives to begin a session with, before the question; None if it
    goes on with what is stored. `needs_reader`: it is aborted once nobody follows it any more.
    `stateless`: the client keeps the talk, and gives the whole of it; its session is shown to
    nobody. `turn` is the question where it is more than a user's `text`; `attachments` are the
    ids of its own: None where an edited question keeps what it had. `regenerates` is the id of
    an answer, or of its question, that is answered once more; `edits` that of a question in whose
    place this one stands: either grows a branch of its own. `client` is told of a session that is
    made. `origin` is the id of the connection that asks, if it is one that hears of questions;
    `whole`: those that hear of it are shown the answer when it has ended; None: as the session is
    set.
    """

    user_id: str
    text: str
    session: SessionRef = SessionRef()
    history: Sequence[Turn] | None = None
    model: str | None = None
    params: Params = Params()
    key: AskKey | None = None
    needs_reader: bool = False
    stateless: bool = False
    turn: Turn | None = None
    attachments: Sequence[str] | None = None
    regenerates: str | None = None
    edits: str | None = None
    client: ClientInfo = NOBODY_KNOWN
    origin: str | None = None
    whole: bool | None = None

    @property
    def question(self) -> Turn:
        return self.turn or Turn("user", self.text)

    @property
    def turns(self) -> Sequence[Turn]:
        """All that the client gave: the history, if any, and the question."""
        return [*(self.history or ()), self.question]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an answer broke off. `retry_after` in seconds, if the provider named a time."""

    code: Code
    message: str
    retryable: bool
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class ModelName:
    """A model by its alias, and by what its provider calls it."""

    alias: str
    provider: str
    provider_model: str


@dataclass(frozen=True, slots=True)
class Context:
    """What of a talk the model was given: so many messages, of which some attachments were cut to
    what there was room for; and what was left out.
    """

    messages: int
    left_out: int
    attachments_cut: int
    attachments_left_out: int


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt as it is written down: about how many tokens it has, and what of the talk it is.

    The tokens stand until the provider has counted. `context` is None where nothing was fitted.
    """

    tokens: int
    context: Context | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """The making of one answer, as the store keeps it.

    `stream_responses` is how its session is set. `epoch` is that of its log, 0 before there is one.
    `needs_reader`: it is aborted once nobody follows it any more. `position` is that of the last event known to the
    store: of the last checkpoint while it runs, of the terminal event afterwards, None before
    anything was written. `text` is exactly the text up to there. `agent` is the graph's node that spoke. Times in milliseconds.
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
    session_name: str | None = None
    stream_responses: bool = True
    epoch: int = 0
    needs_reader: bool = False
    text: str = ""
    position: Position | None = None
    context: Context | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    aborted_by: str | None = None
    first_token_ms: int | None = None
    latency_ms: int | None = None
    agent: str | None = None

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
                    agent=self.agent,
                )
            case Status.ABORTED if self.usage:
                return Aborted(by=self.aborted_by or "user", usage=self.usage)
            case Status.FAILED | Status.INTERRUPTED if self.failure:
                return Failed(self.failure.code, self.failure.message, self.failure.retryable)
            case _:
                raise ValueError(f"generation {self.id} has not ended: {self.status}")


@dataclass(frozen=True, slots=True)
class Ending:
    """How a generation ended, before it is known whether this end is the one that holds.

    `answered_by` is told where that may be another model than the one that was asked; `agent` is
    the graph's node that spoke last.
    """

    status: Status
    text: str
    position: Position
    usage: Usage
    finish_reason: FinishReason | None = None
    failure: Failure | None = None
    aborted_by: str | None = None
    first_token_ms: int | None = None
    latency_ms: int | None = None
    answered_by: ModelName | None = None
    agent: str | None = None


INTERRUPTED: Final = Failure(
    Code.INTERRUPTED, "The server stopped before the answer was whole. Ask again.", retryable=True
)
