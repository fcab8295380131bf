"""One generation: model → log → store, with exactly one terminal event.

A producer belongs to no connection, and holds no database connection while it streams.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import structlog

from runnel.chat.draft import Draft
from runnel.chat.entities import Ending, Generation, Params, Status
from runnel.chat.outcomes import Outcome, aborted, completed, failed
from runnel.chat.ports import (
    Checkpoint,
    Model,
    NotTakenError,
    Observer,
    Piece,
    StaleFence,
    Store,
    StreamLog,
)
from runnel.chat.prompt import Prompt
from runnel.chat.retrying import Retries
from runnel.chat.text import estimate_tokens
from runnel.errors import Code, RunnelError
from runnel.events import Event, FinishReason, Position, Reset, Token, Usage

_log = structlog.stdlib.get_logger()
_MAX_RETRY_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long and how large one answer may grow. Times in seconds."""

    first_token_seconds: float
    idle_seconds: float
    total_seconds: float
    store_retry_seconds: float
    max_bytes: int
    max_events: int
    retries: Retries


class Producer:
    """Makes one answer. `run` is its whole life; `stop` ends it early, from the same loop."""

    def __init__(
        self,
        generation: Generation,
        model: Model,
        prompt: Prompt,
        params: Params,
        *,
        store: Store,
        log: StreamLog,
        bounds: Bounds,
        observer: Observer,
    ) -> None:
        self.generation = generation
        self._model = model
        self._prompt = prompt
        self._params = params
        self._store = store
        self._log = log
        self._bounds = bounds
        self._observer = observer
        # Confirmed in the log, up to self._position.
        self._draft = Draft(max_bytes=bounds.max_bytes, max_events=bounds.max_events)
        self._saved = 0  # how many pieces of it are checkpointed
        self._saving: tuple[int, Checkpoint] | None = None  # up to how many, and the words for it
        self._position: Position | None = None
        self._finish_reason: FinishReason | None = None
        self._usage: Usage | None = None
        self._began = self._heard = time.monotonic()
        self._first_token_ms: int | None = None
        self._stopped: Outcome | None = None
        self._interruptible: asyncio.Timeout | None = None

    async def run(self) -> None:
        """From the first event to the stored end. Never raises but when it is cancelled."""
        try:
            outcome = await self._produce()
            await self._end(outcome)
        except StaleFence:
            _log.warning("generation.taken_over", generation_id=self.generation.id)
            self._log.drop(self.generation.id)
        except Exception:  # noqa: BLE001 - the outermost frame of a task
            # Readers must not wait for what cannot come.
            _log.exception("generation.lost", generation_id=self.generation.id)
            await self._give_up()

    def stop(self, outcome: Outcome) -> None:
        """Stops the model; the text so far is kept. Without effect once producing has ended."""
        if self._stopped is None:
            self._stopped = outcome
            if self._interruptible is not None:
                self._interruptible.reschedule(asyncio.get_running_loop().time())

    def enforce_deadlines(self) -> None:
        """Stops an answer whose provider has been silent, or at work, for too long."""
        now = time.monotonic()
        silent = now - self._heard
        if silent > self._bounds.idle_seconds and (whole := self._whole()):
            self.stop(whole)
        elif now - self._began > self._bounds.total_seconds:
            self.stop(failed(Code.UPSTREAM_TIMEOUT, "The answer took longer than is allowed."))
        elif self._first_token_ms is None:
            if silent > self._bounds.first_token_seconds:
                self.stop(failed(Code.UPSTREAM_TIMEOUT, "The model did not begin to answer."))
        elif silent > self._bounds.idle_seconds:
            self.stop(failed(Code.UPSTREAM_TIMEOUT, "The model fell silent in mid-answer."))

    def unsaved(self) -> Checkpoint | None:
        """What has been written since the last checkpoint; the same again until it is `saved`.

        A commit may succeed and its answer be lost: only the same words can be told apart then.
        """
        if self._saving is None and self._position is not None and len(self._draft) > self._saved:
            upto = len(self._draft)
            text = self._draft.text(self._saved)
            generation = self.generation
            self._saving = (upto, Checkpoint(generation.id, generation.fence, self._position, text))
        return self._saving and self._saving[1]

    def saved(self) -> None:
        """What `unsaved` gave is in the store."""
        if self._saving is not None:
            self._saved, self._saving = self._saving[0], None

    async def _produce(self) -> Outcome:
        try:
            await self._begin()
            async with asyncio.timeout(None) as self._interruptible:
                if self._stopped is None:
                    return await self._ask_model()
        except StaleFence:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a model does, its answer ends
            # A library that is interrupted may well raise something of its own. And an answer
            # whose finish reason has come is whole, however the connection ends.
            return self._stopped or self._whole() or _outcome_of(error)
        finally:
            self._interruptible = None
        assert self._stopped is not None
        return self._stopped

    async def _begin(self) -> None:
        generation = self.generation
        epoch = await self._store.begin_epoch(generation.id, generation.fence, self._prompt.tokens)
        self._position = await self._log.begin(
            generation.id, epoch.number, generation.fence, generation.start()
        )
        if epoch.abort_requested:
            self.stop(aborted("user"))
        self._heard = time.monotonic()

    async def _ask_model(self) -> Outcome:
        """Asks again, for a moment, where the provider did not take the question."""
        tries = 0
        while True:
            try:
                return await self._read_model()
            except NotTakenError as error:
                tries += 1
                elapsed = time.monotonic() - self._began
                pause = self._bounds.retries.pause(
                    tries, elapsed=elapsed, retry_after=error.retry_after
                )
                if pause is None or self._first_token_ms is not None:
                    raise
                self._observer.retried(error.code)
            await asyncio.sleep(pause)

    async def _read_model(self) -> Outcome:
        stream = self._model.stream(self._prompt.turns, self._params)
        async with aclosing(stream) as batches:
            async for batch in batches:
                self._heard = time.monotonic()
                await self._write(self._pieces(batch))
                if self._stopped is not None:
                    return self._stopped  # a library may have swallowed the interruption
                if self._draft.full:
                    return completed("length")
        return self._whole() or failed(
            Code.UPSTREAM_INCOMPLETE, "The provider broke off before the answer was whole."
        )

    def _whole(self) -> Outcome | None:
        return self._finish_reason and completed(self._finish_reason)

    def _pieces(self, batch: Sequence[Piece]) -> list[str]:
        pieces: list[str] = []
        for piece in batch:
            self._usage = piece.usage or self._usage
            self._finish_reason = piece.finish_reason or self._finish_reason
            pieces += self._draft.feed(piece.text)
        return pieces

    async def _write(self, pieces: Sequence[str]) -> None:
        if not pieces:
            return
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        await self._append([Token(piece) for piece in pieces])
        self._draft.confirm(pieces)

    async def _append(self, events: Sequence[Event]) -> None:
        assert self._position is not None
        self._position = await self._log.append(
            self.generation.id, self.generation.fence, self._position, events
        )

    async def _end(self, outcome: Outcome) -> None:
        """The one order of an end: last tokens, then the row, then the terminal event."""
        generation = self.generation
        if self._position is None:
            self._position = await self._log.begin(
                generation.id, 1, generation.fence, generation.start()
            )
        await self._write(self._draft.flush())
        ending = self._ending(outcome, self._position)
        ended = await self._store_end(ending)
        if ended is None:  # purged with its session or its user
            self._log.drop(generation.id)
            return
        if ended.end is None:
            raise StaleFence(generation.id)
        if ended.end != ending.position:
            # Another ended it first, with a text of its own, in an epoch that readers have to see
            # begin: what they have from here is not what is kept.
            self._position = await self._log.begin(
                generation.id, ended.end.epoch, generation.fence, Reset(ended.text)
            )
        await self._append([ended.terminal()])
        self._observer.ended(ended)
        _log.info(
            "generation.ended",
            generation_id=generation.id,
            model=generation.model,
            status=ended.status.value,
            code=ended.failure and ended.failure.code.value,
            latency_ms=ended.latency_ms,
            first_token_ms=ended.first_token_ms,
        )

    def _ending(self, outcome: Outcome, last: Position) -> Ending:
        text = self._draft.text()
        return Ending(
            status=outcome.status,
            text=text,
            position=Position(last.epoch, last.offset + 1),
            usage=self._final_usage(outcome, text),
            finish_reason=outcome.finish_reason,
            failure=outcome.failure,
            aborted_by=outcome.aborted_by,
            first_token_ms=self._first_token_ms,
            latency_ms=self._elapsed_ms(),
        )

    async def _give_up(self) -> None:
        """One try at the plainest end, so that no generation is left running; then readers go."""
        generation = self.generation
        outcome = failed(Code.UPSTREAM_ERROR, "The answer broke off; the server's log says why.")
        try:
            ending = self._ending(outcome, self._position or Position(1, 0))
            await self._store.finish(generation.id, generation.fence, ending)
        except Exception:  # noqa: BLE001 - there is nothing left to try
            _log.exception("generation.not_ended", generation_id=generation.id)
        finally:
            self._log.drop(generation.id)

    async def _store_end(self, ending: Ending) -> Generation | None:
        """Writes the end, for as long as it takes; readers are let go after a while."""
        hide_at = time.monotonic() + self._bounds.store_retry_seconds
        pause = 0.05
        while True:
            try:
                return await self._store.finish(self.generation.id, self.generation.fence, ending)
            except RunnelError:
                _log.warning("generation.end_not_stored", generation_id=self.generation.id)
            if time.monotonic() > hide_at:
                self._log.hide(self.generation.id)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_RETRY_PAUSE)

    def _final_usage(self, outcome: Outcome, text: str) -> Usage:
        whole = outcome.status is Status.COMPLETED
        if self._usage is not None and whole:
            return self._usage
        return Usage(self._prompt.tokens, estimate_tokens(text), "estimated")

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._began) * 1000)


def _outcome_of(error: Exception) -> Outcome:
    if isinstance(error, RunnelError):
        return failed(
            error.code, error.message, retryable=error.retryable, retry_after=error.retry_after
        )
    _log.error("generation.failed_unexpectedly", exc_info=error)
    return failed(Code.UPSTREAM_ERROR, "The answer broke off; the server's log says why.")
