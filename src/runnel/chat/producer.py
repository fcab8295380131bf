"""One generation: models → log → store, with exactly one terminal event.

A producer belongs to no connection, and holds no database connection while it streams.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import structlog

from runnel.chat.attempt import Attempt, Bounds, Question
from runnel.chat.closing import Closing
from runnel.chat.entities import Ending, Generation, ModelName, Status
from runnel.chat.model_ports import Model
from runnel.chat.outcomes import Outcome, aborted, completed, failed
from runnel.chat.ports import Checkpoint, Observer, StaleFence, Store, StreamLog
from runnel.chat.rounds import ask_around
from runnel.chat.terms import together
from runnel.errors import Code, RunnelError
from runnel.events import Event, Position, Reset, Token, Usage

_log = structlog.stdlib.get_logger()
_STORE_PAUSE: Final = 0.1


class Producer:
    """Makes one answer. `run` is its whole life; `stop` ends it early, from the same loop."""

    def __init__(
        self,
        generation: Generation,
        question: Question,
        *,
        store: Store,
        log: StreamLog,
        bounds: Bounds,
        observer: Observer,
    ) -> None:
        self.generation = generation
        self._question = question
        self._store = store
        self._log = log
        self._bounds = bounds
        self._observer = observer
        self._closing = Closing(
            store, log, observer, store_retry_seconds=bounds.store_retry_seconds
        )
        self._position: Position | None = None
        self._began = time.monotonic()
        self._first_token_ms: int | None = None
        self._stopped: Outcome | None = None
        self._interruptible: asyncio.Timeout | None = None
        self._spent: Usage | None = None  # by models whose text was given up
        self._written = False  # whether readers have seen anything of the answer
        self._attempt = Attempt(question, question.models[0], bounds)
        self._become_author(self._attempt)

    def _begin_attempt(self, model: Model) -> None:
        if self._attempt is not self._author or not self._written:
            self._spent = self._with_counted()
        self._attempt = Attempt(self._question, model, self._bounds)
        if not self._written:
            self._become_author(self._attempt)

    def _with_counted(self) -> Usage | None:
        """What was spent, and what the attempt has counted that is not to be the answer."""
        counted = self._attempt.counted()
        return together(self._spent, counted) if counted else self._spent

    def _become_author(self, attempt: Attempt) -> None:
        """The answer's text is the attempt's draft, confirmed in the log up to self._position."""
        self._author = attempt
        self._saved = 0  # how many pieces of it are checkpointed
        self._saving: tuple[int, Checkpoint] | None = None  # up to how many, and the words for it

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
            outcome = failed(
                Code.UPSTREAM_ERROR, "The answer broke off; the server's log says why."
            )
            ending = self._ending(outcome, self._position or Position(1, 0))
            await self._closing.give_up(self.generation, ending, self._question.text)

    def stop(self, outcome: Outcome) -> None:
        """Stops the model; the text so far is kept. Without effect once producing has ended."""
        if self._stopped is None:
            self._stopped = outcome
            if self._interruptible is not None:
                self._interruptible.reschedule(asyncio.get_running_loop().time())

    def enforce_deadlines(self) -> None:
        """Stops what has gone on for too long: the answer, or a model that has been silent."""
        attempt = self._attempt
        begun = self._written and attempt is self._author
        silence = attempt.overdue(self._bounds, begun=begun)
        if silence is not None and (whole := self._whole()):
            self.stop(whole)
        elif time.monotonic() - self._began > self._bounds.total_seconds:
            self.stop(failed(Code.UPSTREAM_TIMEOUT, "The answer took longer than is allowed."))
        elif silence is not None:
            attempt.lose_patience(silence)

    def unsaved(self) -> Checkpoint | None:
        """What has been written since the last checkpoint; the same again until it is `saved`.

        A commit may succeed and its answer be lost: only the same words can be told apart then.
        """
        draft = self._author.draft
        if self._saving is None and self._position is not None and len(draft) > self._saved:
            upto = len(draft)
            text = draft.text(self._saved)
            generation = self.generation
            self._saving = (upto, Checkpoint(generation.id, generation.fence, self._position, text))
        return self._saving and self._saving[1]

    def saved(self) -> None:
        """What `unsaved` gave is in the store."""
        if self._saving is not None:
            self._saved, self._saving = self._saving[0], None

    async def _produce(self) -> Outcome:
        try:
            await self._begin_epoch(self.generation.start())
            async with asyncio.timeout(None) as self._interruptible:
                if self._stopped is None:
                    return await self._ask_around()
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

    async def _begin_epoch(self, first: Event) -> None:
        generation = self.generation
        prompt = self._attempt.prompt.fitted
        epoch = await self._store.begin_epoch(generation.id, generation.fence, prompt)
        self._position = await self._log.begin(generation.id, epoch.number, generation.fence, first)
        if epoch.abort_requested:
            self.stop(aborted("user"))

    async def _ask_around(self) -> Outcome:
        return await ask_around(
            self._question.models,
            self._ask,
            retries=self._bounds.retries,
            may_pass_on=self._may_pass_on,
            may_retry=lambda: not self._written,
            told=self._observer,
        )

    def _may_pass_on(self) -> bool:
        if self._stopped is not None or self._whole() is not None:
            return False
        return self._question.restarts or not self._written

    async def _ask(self, model: Model) -> Outcome:
        self._begin_attempt(model)
        attempt = self._attempt
        async with attempt.place(), aclosing(attempt.stream()) as batches:
            async for batch in batches:
                gap = attempt.hear()
                if events := attempt.events(batch):
                    await self._take_over(attempt, gap)
                    await self._write(events)
                # A library may have swallowed the interruption.
                if self._stopped is not None:
                    return self._stopped
                if attempt.silence is not None:
                    raise attempt.silence
                if attempt.draft.full:
                    return completed("length")
            if attempt.finish_reason is None:
                raise RunnelError(
                    Code.UPSTREAM_INCOMPLETE, "The provider broke off before the answer was whole."
                )
            await self._take_over(attempt)
            return completed(attempt.finish_reason)

    async def _take_over(self, attempt: Attempt, gap: float | None = None) -> None:
        """The answer is the attempt's from now on; what readers have of another's is void."""
        if attempt is not self._author:
            spent = together(self._spent, self._author.used(whole=False))
            await self._begin_anew()
            self._spent = spent
            self._become_author(attempt)
            await self._name(attempt)
        elif not self._written:
            if attempt.model is not self._question.models[0]:
                await self._name(attempt)
        elif gap is not None:
            self._observer.waited(attempt.model.alias, gap)

    async def _begin_anew(self) -> None:
        """The database may be away for a moment; the model that speaks waits for it meanwhile."""
        until = time.monotonic() + self._bounds.store_retry_seconds
        while True:
            try:
                return await self._begin_epoch(Reset(""))
            except RunnelError:
                if time.monotonic() > until:
                    raise
            await asyncio.sleep(_STORE_PAUSE)

    async def _name(self, attempt: Attempt) -> None:
        """Writes down who speaks, for whoever looks meanwhile, and for whoever finds it crashed."""
        generation = self.generation
        try:
            await self._store.name_model(
                generation.id, generation.fence, _name_of(attempt.model), attempt.prompt.fitted
            )
        except RunnelError:
            _log.warning("generation.model_not_named", generation_id=generation.id)

    def _whole(self) -> Outcome | None:
        reason = self._attempt.finish_reason
        return completed(reason) if reason and self._attempt is self._author else None

    async def _write(self, events: Sequence[Event]) -> None:
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        assert self._position is not None
        self._position = await self._log.append(
            self.generation.id, self.generation.fence, self._position, events
        )
        self._author.draft.confirm([event.text for event in events if isinstance(event, Token)])
        self._written = True

    async def _end(self, outcome: Outcome) -> None:
        generation = self.generation
        if self._position is None:
            self._position = await self._log.begin(
                generation.id, 1, generation.fence, generation.start()
            )
        if held_back := self._author.draft.flush():
            await self._write([Token(piece) for piece in held_back])
        ending = self._ending(outcome, self._position)
        await self._closing.end(generation, ending, self._question.text)

    def _ending(self, outcome: Outcome, last: Position) -> Ending:
        used = self._author.used(whole=outcome.status is Status.COMPLETED)
        spent = self._spent if self._attempt is self._author else self._with_counted()
        return Ending(
            status=outcome.status,
            text=self._author.draft.text(),
            position=Position(last.epoch, last.offset + 1),
            usage=together(spent, used),
            finish_reason=outcome.finish_reason,
            failure=outcome.failure,
            aborted_by=outcome.aborted_by,
            first_token_ms=self._first_token_ms,
            latency_ms=self._elapsed_ms(),
            answered_by=_name_of(self._author.model),
            agent=self._author.agent,
        )

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._began) * 1000)


def _name_of(model: Model) -> ModelName:
    return ModelName(model.alias, model.provider, model.provider_model)


def _outcome_of(error: Exception) -> Outcome:
    if isinstance(error, RunnelError):
        return failed(
            error.code, error.message, retryable=error.retryable, retry_after=error.retry_after
        )
    _log.error("generation.failed_unexpectedly", exc_info=error)
    return failed(Code.UPSTREAM_ERROR, "The answer broke off; the server's log says why.")
