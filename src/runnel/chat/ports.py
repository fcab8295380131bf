"""What the chat core needs of the world, as narrow protocols. Adapters implement them."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from runnel.chat.entities import Ask, Ending, Generation, Params, Turn
from runnel.events import Batch, Event, FinishReason, Position, Usage


@dataclass(frozen=True, slots=True)
class Piece:
    """What a model gives at a time: text, the reason why it ended, the tokens it counted.

    An empty one is a sign of life: a model that thinks without speaking is not silent.
    """

    text: str = ""
    finish_reason: FinishReason | None = None
    usage: Usage | None = None


class Model(Protocol):
    """One alias, ready to answer."""

    @property
    def alias(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def provider_model(self) -> str: ...

    def stream(self, turns: Sequence[Turn], params: Params) -> AsyncGenerator[Sequence[Piece]]:
        """The answer, in batches of what was ready together; never an empty batch.

        The finish reason comes once, with or after the last text; a stream that ends without
        one was cut. Closing the generator closes the connection to the provider. Raises
        RunnelError with an `upstream_…` code or `model_unavailable`.
        """
        ...


@dataclass(frozen=True, slots=True)
class ListedModel:
    """An alias as it is shown to clients; one that is not available says why when it is asked."""

    alias: str
    provider: str
    model: str
    available: bool


class Catalog(Protocol):
    """The aliases there are, and the one that answers where none is named."""

    @property
    def default(self) -> str | None: ...

    def listed(self) -> Sequence[ListedModel]: ...

    def resolve(self, name: str | None) -> Model:
        """The model of that alias, or of a provider's name that one alias alone has.

        None: the default. Raises RunnelError `unknown_model`.
        """
        ...


class LogMissing(Exception):  # noqa: N818 - a state of the log, not a fault
    """There is no log of this generation, or it is of another epoch than the writer's."""


class PositionConflict(Exception):  # noqa: N818 - same
    """The log does not end where the writer believes; or a reader's position is not in it."""


class StaleFence(Exception):  # noqa: N818 - same
    """Another owner has taken the generation; the writer must stop."""


class LogReader(Protocol):
    """One reader's way through one log: first what was missed, then what comes."""

    async def next(self) -> Sequence[Batch]:
        """All batches that are there behind the cursor, at most a page; waits if there are none.

        Empty when the reader was closed. Cancelling loses nothing. Raises PositionConflict if
        the cursor stands at no event of the log.
        """
        ...

    def close(self) -> None:
        """Ends the reading: `next` returns empty at once."""
        ...


class StreamLog(Protocol):
    """The append-only logs of generations' events, each an epoch of numbered events."""

    async def begin(self, generation_id: str, epoch: int, fence: int, first: Event) -> Position:
        """Begins a new epoch with its first event, `start` or `reset`, at offset 0.

        Raises StaleFence; PositionConflict if the epoch does not rise.
        """
        ...

    async def append(
        self, generation_id: str, fence: int, after: Position, events: Sequence[Event]
    ) -> Position:
        """Appends behind `after`, which must be the log's last position; the new last one.

        When it returns, readers see the events. A terminal event closes the log for writers.
        Raises LogMissing, PositionConflict, StaleFence.
        """
        ...

    def read(self, generation_id: str, after: Position | None = None) -> LogReader:
        """A reader from the first event, or from the one behind `after`.

        A log that has not begun yet is waited for.
        """
        ...

    def hide(self, generation_id: str) -> None:
        """Closes the readers of a log whose end cannot be told now."""
        ...

    def drop(self, generation_id: str) -> None:
        """Closes the readers of a log that no end will come to, and forgets it."""
        ...

    def tidy(self) -> None:
        """Lets finished logs go that are too old, and the oldest of them if there are too many."""
        ...

    @property
    def full(self) -> bool:
        """Whether there is no room for another answer, however tidy."""
        ...


@dataclass(frozen=True, slots=True)
class Begun:
    """What the transaction of an ask wrote: the generation, and the branch that it answers."""

    generation: Generation
    turns: Sequence[Turn]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """New text of a running answer, up to and with the event at `position`."""

    generation_id: str
    fence: int
    position: Position
    text: str


class Store(Protocol):
    """What is kept of sessions, messages and generations. Every call is one short transaction.

    Raises RunnelError `store_unavailable` if the database is away.
    """

    async def begin_ask(self, ask: Ask, model: Model, owner: str) -> Begun:
        """Writes the session if it is new, the messages, and the generation as `queued`.

        Raises RunnelError `not_found`, `conflict`, or `busy` with the running generation's id.
        """
        ...

    async def begin_epoch(self, generation_id: str, fence: int, prompt_tokens: int) -> int:
        """Raises the epoch and sets the state `running`; the new epoch. Raises StaleFence.

        `prompt_tokens` is the estimate that stands until the provider has counted.
        """
        ...

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Adds new text of running answers; what has another fence or has ended is passed over."""
        ...

    async def finish(self, generation_id: str, fence: int, ending: Ending) -> Generation | None:
        """Ends the generation if it is live and the fence holds; the row as it is then.

        What is returned is the end of whoever came first; None if the row is gone.
        """
        ...

    async def interrupt_left_running(self) -> int:
        """Ends what a crash left live as `interrupted`, with its checkpointed text; how many."""
        ...

    async def generation(self, user_id: str, generation_id: str) -> Generation | None:
        """A user's own generation; None if it does not exist or is another's."""
        ...
