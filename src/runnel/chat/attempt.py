"""One try at one model: what it has said of itself, and how long it is waited for."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from runnel.chat.draft import Draft
from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import Model, Said
from runnel.chat.ports import StaleFence
from runnel.chat.prompt import Prompt
from runnel.chat.retrying import Retries
from runnel.chat.terms import Terms
from runnel.chat.text import Cleaner, clean, estimate_tokens
from runnel.errors import Code, RunnelError
from runnel.events import Event, FinishReason, Token, ToolCall, Usage


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how large one answer may grow. Times in seconds."""

    first_token_seconds: float
    idle_seconds: float
    total_seconds: float
    store_retry_seconds: float
    log_retry_seconds: float
    max_bytes: int
    max_events: int
    retries: Retries


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and of whom: the first of `models`, and then those that stand in for it.

    `prompt` fits what is asked to a model's terms; `text` is the question alone. `restarts`: an
    answer that breaks off in the middle is begun anew by the next model.
    """

    text: str
    models: Sequence[Model]
    prompt: Callable[[Terms], Prompt]
    params: Params
    restarts: bool = False


class Attempt:
    """Asks one model. Its silence ends the attempt, and not yet the answer.

    `draft` is the text that it makes; whether that is the answer's, the producer decides. `begun`
    is a text of another attempt that the model is to go on with.
    """

    __slots__ = (
        "_called",
        "_cleaners",
        "_heard_at",
        "_in_line",
        "_params",
        "_patience",
        "_spoke",
        "_usage",
        "agent",
        "begun",
        "draft",
        "finish_reason",
        "model",
        "prompt",
        "silence",
    )

    def __init__(
        self, question: Question, model: Model, bounds: Bounds, *, begun: str = ""
    ) -> None:
        self.model = model
        self.begun = begun
        self.prompt = question.prompt(model.terms)
        self.draft = Draft(max_bytes=bounds.max_bytes, max_events=bounds.max_events, begun=begun)
        self.finish_reason: FinishReason | None = None
        self.agent: str | None = None  # that spoke last
        self.silence: RunnelError | None = None
        self._params = question.params
        self._usage: Usage | None = None
        self._called: list[str] = []  # of the calls of tools, which are no text
        self._cleaners: dict[int, Cleaner] = {}  # of the arguments of each call
        self._heard_at = time.monotonic()
        self._in_line = False
        self._spoke = False  # whether the provider has sent anything
        self._patience: asyncio.Timeout | None = None

    def stream(self) -> AsyncGenerator[Sequence[Said]]:
        """What the model says. Raises RunnelError as the port says."""
        begun = [Turn("assistant", self.begun)] if self.begun else []
        return self.model.stream([*self.prompt.turns, *begun], self._params)

    @asynccontextmanager
    async def place(self) -> AsyncGenerator[None]:
        """Waits for a place and holds it. Raises what the silence within amounts to."""
        try:
            async with asyncio.timeout(None) as self._patience:
                self._in_line = True
                async with self.model.places:
                    self._in_line = False
                    self._heard_at = time.monotonic()
                    yield
        except StaleFence:
            raise
        except Exception as error:
            # What a library makes of being interrupted tells nothing.
            if self.silence is None:
                raise
            raise self.silence from error
        finally:
            self._patience = None

    def hear(self) -> float:
        """Something has come; how many seconds after what came before."""
        before, self._heard_at = self._heard_at, time.monotonic()
        self._spoke = True
        return self._heard_at - before

    def events(self, batch: Sequence[Said]) -> list[Event]:
        """What a batch says, as events; what it says of the answer as a whole is kept."""
        events: list[Event] = []
        draft = self.draft
        for piece in batch:
            if draft.full:
                break  # what the model says behind a cut is no part of the answer
            if isinstance(piece, str):
                events += map(Token, draft.feed(piece))
                continue
            self._usage = piece.usage or self._usage
            self.finish_reason = piece.finish_reason or self.finish_reason
            self.agent = piece.agent or self.agent
            if piece.text:
                events += map(Token, draft.feed(piece.text))
            if piece.tool_calls:
                events += self._calls(piece.tool_calls)
        return events

    def _calls(self, calls: Sequence[ToolCall]) -> Iterator[ToolCall]:
        for call in calls:
            if self.draft.full:
                break
            cleaned = self._cleaned(call)
            said = f"{cleaned.id or ''}{cleaned.name or ''}{cleaned.arguments}"
            if self.draft.weigh(said):
                self._called.append(said)
                yield cleaned

    def _cleaned(self, call: ToolCall) -> ToolCall:
        cleaner = self._cleaners.setdefault(call.index, Cleaner())
        return ToolCall(
            call.index,
            call.id and clean(call.id),
            call.name and clean(call.name),
            cleaner.feed(call.arguments),
        )

    def overdue(self, bounds: Bounds, *, begun: bool) -> RunnelError | None:
        """What is to be said of the silence, if it has gone on for too long."""
        own = self.model.terms.timeout_seconds
        silent = time.monotonic() - self._heard_at
        if silent <= (own or (bounds.idle_seconds if begun else bounds.first_token_seconds)):
            return None
        if self._in_line:
            message = f"All places of {self.model.alias} are taken. Ask again shortly."
            return RunnelError(Code.OVERLOADED, message, retry_after=1)
        if begun:
            return RunnelError(Code.UPSTREAM_TIMEOUT, "The model fell silent in mid-answer.")
        return RunnelError(Code.UPSTREAM_TIMEOUT, "The model did not begin to answer.")

    def lose_patience(self, silence: RunnelError) -> None:
        """Ends the waiting, if it is waited for at all."""
        if self.silence is None and self._patience is not None:
            self.silence = silence
            self._patience.reschedule(asyncio.get_running_loop().time())

    def counted(self) -> Usage | None:
        """What the provider has counted so far, with its cost."""
        return self._usage and self.model.terms.priced(self._usage)

    def used(self, *, whole: bool) -> Usage:
        """What the draft took: as the provider counted, or estimated; with its cost."""
        usage = self._usage
        if usage is None or not whole:
            # What it was begun with others have made, and was counted with them.
            said = self.draft.text(1 if self.begun else 0) + "".join(self._called)
            usage = Usage(self.prompt.tokens, estimate_tokens(said), "estimated")
        priced = self.model.terms.priced(usage)
        # Who sent nothing has, most likely, made nothing that is billed.
        return priced if self._spoke or priced.cost is None else replace(priced, cost=0.0)
