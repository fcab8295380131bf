"""What the chat core needs of logs, of the store and of whoever counts. Adapters implement it.

What it needs of models is in model_ports.py.
"""

from asyncio import Future
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from runnel.chat.choosing import Choose, Chosen
from runnel.chat.entities import Ask, AskKey, Ending, Fitted, Generation, ModelName, Status, Turn
from runnel.chat.sessions.values import SessionSettings
from runnel.errors import Code
from runnel.events import Batch, Event, Position, Usage


class LogMissing(Exception):  # noqa: N818 - a state of the log, not a fault
    """There is no log of this generation, or it is of another epoch than the writer's."""


class PositionConflict(Exception):  # noqa: N818 - same
    """The log does not end where the writer believes."""


class StaleFence(Exception):  # noqa: N818 - same
    """Another owner has taken the generation; the writer must stop."""


class LogReader(Protocol):
    """One reader's way through one log: first what was missed, then what comes."""

    async def next(self) -> Sequence[Batch]:
        """All batches that are there behind the cursor, at most a page; waits if there are none.

        Empty when the reader was closed, or has read the terminal event. Cancelling loses
        nothing. Where the cursor stands at no event of the log (it was trimmed, is in the
        future, or of another epoch), a `reset` with the whole text comes first, at the position
        of the last event that it includes; a log begun anew under a reader begins with one.
        """
        ...

    async def fetch(self) -> None:
        """What is there now is at hand then, and `next` gives it without waiting; unless the place
        of the logs does not answer.
        """
        ...

    def close(self) -> None:
        """Ends the reading: `next` returns empty at once."""
        ...


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a log has: its last position, the whole text up to there, whether its end is told."""

    last: Position
    text: str
    closed: bool


class StreamLog(Protocol):
    """The append-only logs of generations' events, each an epoch of numbered events.

    Where they are kept may be away. Whoever writes or reads waits until it is back.
    """

    def begin(self, generation_id: str, epoch: int, fence: int, first: Event) -> Future[Position]:
        """Begins a new epoch with its first event, `start` or `reset`, at offset 0.

        It may be there at once. The future fails with StaleFence; PositionConflict if the epoch
        does not rise.
        """
        ...

    def append(
        self, generation_id: str, fence: int, after: Position, events: Sequence[Event]
    ) -> Future[Position]:
        """Appends behind `after`, which must be the log's last position; the new last one.

        It may be there at once. When it is, readers see the events; a terminal event closes the
        log for writers. The future fails with LogMissing, PositionConflict, StaleFence.
        """
        ...

    async def recover(self, generation_id: str, fence: int) -> Recovered | None:
        """What the log has, which from now on no older fence writes to; None if there is none.

        Raises StaleFence.
        """
        ...

    def read(self, generation_id: str, after: Position | None = None) -> LogReader:
        """A reader from the first event, or from the one behind `after`.

        A log that has not begun yet is waited for. While it has readers, a log is kept, unless
        there is no room; then they are closed, to attach again.
        """
        ...

    async def epoch(self, generation_id: str) -> int | None:
        """The epoch of the log that is kept; None if there is none, or its place is away."""
        ...

    def check(self) -> None:
        """Raises RunnelError `stream_unavailable` while the place of the logs is away."""
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
    """What the transaction of an ask wrote: the generation, the branch that it answers, whose last
    turn is the question, and who was chosen to answer it. `beyond`: so many older messages of the
    branch are not among the turns. `epoch` is one that is open already, for the log that may begin
    with it; 0: there is none yet.
    """

    generation: Generation
    turns: Sequence[Turn]
    settings: SessionSettings
    chosen: Chosen
    beyond: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """Nothing was written: the same question was asked before with the same key."""

    generation: Generation


@dataclass(frozen=True, slots=True)
class Epoch:
    """A log that may be begun now, unless somebody has asked meanwhile to abort: `abort_by`."""

    number: int
    abort_by: str | None


@dataclass(frozen=True, slots=True)
class Seen:
    """How a generation stands, without its text. `end` is the terminal position, if it has one;
    `needs_reader`: it is aborted once nobody follows it any more.
    """

    id: str
    session_id: str
    end: Position | None
    needs_reader: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """New text of a running answer, up to and with the event at `position`."""

    generation_id: str
    fence: int
    position: Position
    text: str


class Observer(Protocol):
    """Is told what operators count."""

    def ended(self, generation: Generation, question: str) -> None:
        """A generation ended here, as the store keeps it; what had been asked."""
        ...

    def waited(self, model: str, seconds: float) -> None:
        """A running answer's next piece came so long after the one before."""
        ...

    def resumed(self) -> None:
        """A reader came back with a position."""
        ...

    def reset(self, reason: Literal["position", "epoch", "row"]) -> None:
        """A reader was given the whole text anew.

        Because its position is not in the log, the log began anew, or the log is gone.
        """
        ...

    def retried(self, code: Code) -> None:
        """A provider did not take a question, and is asked again."""
        ...

    def passed_on(self, model: str, code: Code) -> None:
        """A model did not answer, and the next one is asked in its place."""
        ...


class Store(Protocol):
    """What is kept of sessions, messages and generations. Every call is one short transaction.

    Raises RunnelError `store_unavailable` if the database is away.
    """

    async def begin_ask(self, ask: Ask, choose: Choose, owner: str) -> Begun | Joined:
        """Writes the session if it is new, the messages, and the generation, with a lease of
        `owner` where there are others: `queued`, or, if it is known what the model is to be given,
        `running` in its first epoch.

        `choose` says who answers, once the session is known and before anything can be seen of the
        answer; it may refuse, and must not wait. Of asks with one key that race, one writes; the
        others get its generation. Raises RunnelError as `asked_before` and `choose`, `not_found`,
        `conflict`, `session_closed`, or `busy` with the running generation's id.
        """
        ...

    async def asked_before(self, user_id: str, key: AskKey) -> Generation | None:
        """What a key was used for, in whatever state. Keys are kept for a day.

        Raises RunnelError `idempotency_conflict` if that was another question.
        """
        ...

    async def begin_epoch(self, generation_id: str, fence: int, prompt: Fitted) -> Epoch:
        """Raises the epoch and sets the state `running`. Raises StaleFence."""
        ...

    async def name_model(
        self, generation_id: str, fence: int, model: ModelName, prompt: Fitted
    ) -> None:
        """Another model than the one that was asked is about to speak."""
        ...

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Adds new text of running answers; what has another fence or has ended is passed over."""
        ...

    async def hand_back(self, generation_id: str, fence: int, unsaved: Checkpoint | None) -> None:
        """Lets a running generation go, with its last text, for whoever takes it over."""
        ...

    async def finish(self, generation_id: str, fence: int, ending: Ending) -> Generation | None:
        """Ends the generation if it is live and the fence holds; the row as it is then.

        What is returned is the end of whoever came first; None if the row is gone.
        """
        ...

    async def interrupt_left_running(
        self, priced: Callable[[str, Usage], Usage]
    ) -> Sequence[Generation]:
        """Ends what a crash left live as `interrupted`, with its checkpointed text; what it ended.

        What was to be aborted is ended as `aborted`. `priced` gives a usage of an alias its cost.
        """
        ...

    async def request_abort(self, user_id: str, generation_id: str, by: str) -> Seen | None:
        """Marks a user's own live generation to be aborted, and says how it stood."""
        ...

    async def request_aborts(
        self, by: str, *, user_id: str | None = None, session_id: str | None = None
    ) -> Collection[str]:
        """Marks all that is live of a user, or in a session; which these are."""
        ...

    async def keep(self, generation_id: str) -> None:
        """A generation needs no reader any more."""
        ...

    async def generation(self, user_id: str, generation_id: str) -> Generation | None:
        """A user's own generation; None if it does not exist or is another's."""
        ...

    async def generations(
        self, user_id: str, status: Status | None, cursor: str | None, limit: int
    ) -> tuple[Sequence[Generation], str | None]:
        """A page of a user's own generations, newest first, and the cursor of the next page.

        A page may be shorter than `limit` where its texts are long. Raises RunnelError
        `invalid_request` for a cursor that is none.
        """
        ...

    async def see(self, user_id: str, generation_id: str) -> Seen | None:
        """How a user's own generation stands; None if it does not exist or is another's."""
        ...

    async def see_all(self, generation_ids: Collection[str]) -> Sequence[Seen]:
        """How generations stand, whosever they are; those that do not exist are left out."""
        ...

    async def ended(self, generation_id: str) -> Generation | None:
        """A generation that has ended, whosever it is; None while it is live, or if it is gone."""
        ...
