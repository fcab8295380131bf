"""The events of one answer and where they stand. Frozen values; no event knows a wire format."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, NamedTuple, Self

_POSITION: Final = re.compile(r"([1-9][0-9]{0,8})-(0|[1-9][0-9]{0,17})")


class Position(NamedTuple):
    """Where an event stands: the epoch of its log, and its number in it from 0. Written `1-42`.

    Ordered by epoch, then offset, as numbers. (A tuple: one is made for each event, and it costs
    less than a frozen dataclass.)
    """

    epoch: int
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for anything but `EPOCH-OFFSET` in plain decimal digits."""
        match = _POSITION.fullmatch(text)
        if match is None:
            raise ValueError(f"not a position: {text!r}")
        return cls(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted. `estimated` where the provider gave no count or the answer was cut.

    `cost` in whatever the alias' price is in; None where it has none.
    """

    prompt_tokens: int
    completion_tokens: int
    source: Literal["provider", "estimated"]
    cost: float | None = None

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


@dataclass(frozen=True, slots=True)
class Start:
    type: ClassVar = "start"
    terminal: ClassVar = False
    generation_id: str
    session_id: str
    message_id: str
    user_message_id: str
    model: str


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of the answer's text, never empty, cleaned; no line of it is `[DONE]`."""

    type: ClassVar = "token"
    terminal: ClassVar = False
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A piece of a call of one of the client's tools, the `index`-th of the answer.

    The first piece of a call names it; `arguments` is a piece of JSON text, to be joined.
    """

    type: ClassVar = "tool_call"
    terminal: ClassVar = False
    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True, slots=True)
class Reset:
    """`text` is the whole text so far. Begins an epoch after the first; or stands in, for one
    reader, for all that it cannot be given piece by piece, at the position of the last of it.
    """

    type: ClassVar = "reset"
    terminal: ClassVar = False
    text: str


@dataclass(frozen=True, slots=True)
class End:
    """The answer is whole. `text_length` counts characters; times are milliseconds.

    `agent` is the graph's node that spoke last, None for what is no graph.
    """

    type: ClassVar = "end"
    terminal: ClassVar = True
    finish_reason: FinishReason
    usage: Usage
    model: str
    provider: str
    provider_model: str
    text_length: int
    latency_ms: int
    first_token_ms: int | None
    agent: str | None = None


@dataclass(frozen=True, slots=True)
class Aborted:
    """The answer was stopped; `by` says who did: `user`, `disconnect` (nobody followed it any more)
    or `server`.
    """

    type: ClassVar = "aborted"
    terminal: ClassVar = True
    by: str
    usage: Usage


@dataclass(frozen=True, slots=True)
class Failed:
    """The answer broke off; `code` is one of errors.Code."""

    type: ClassVar = "failed"
    terminal: ClassVar = True
    code: str
    message: str
    retryable: bool


Event = Start | Token | ToolCall | Reset | End | Aborted | Failed
Terminal = End | Aborted | Failed


def text_of(events: Iterable[Event]) -> str:
    """The whole text that events, read in their order, amount to."""
    text: list[str] = []
    for event in events:
        if isinstance(event, Reset):
            text = [event.text]
        elif isinstance(event, Token):
            text.append(event.text)
    return "".join(text)


@dataclass(slots=True, eq=False)
class Batch:
    """Events that were appended together: `events[i]` stands at `EPOCH-(offset + i)`.

    `size` is about what it holds in memory, in bytes. `frames` keeps what a dialect made of the
    whole batch, by the dialect's key, so that readers who follow live share one encoding. None:
    nothing is kept, as of a batch that is old.
    """

    epoch: int
    offset: int
    events: Sequence[Event]
    size: int = 0
    frames: dict[str, bytes] | None = None

    @property
    def last(self) -> Position:
        return Position(self.epoch, self.offset + len(self.events) - 1)

    def after(self, offset: int) -> "Batch":
        """The part of the batch behind `offset`; the batch itself if that is all of it."""
        if offset < self.offset:
            return self
        return Batch(self.epoch, offset + 1, self.events[offset + 1 - self.offset :], self.size)
