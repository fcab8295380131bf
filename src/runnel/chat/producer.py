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
from runnel.chat.inherited import Inherited
from runnel.chat.model_ports import Model
from runnel.chat.outcomes import Outcome, aborted, completed, failed
from runnel.chat.ports import Checkpoint, Observer, StaleFence, Store, StreamLog
from runnel.chat.rounds import ask_around
from runnel.chat.terms import together
from runnel.chat.writing import Writer
from runnel.errors import Code, RunnelError
from runnel.events import Event, Position, Reset, Token, Usage

_log = structlog.stdlib.get_logger()
_STORE_PAUSE: Final = 0.1


class Producer:
    """Makes one answer. `run` is its whole life; `stop` and `hand_back` end it early, from the same
    loop. `epoch` is one that is open already, and no log has begun with.
    """

    __slots__ = (
        "_attempt",
        "_author",
        "_began",
        "_bounds",
        "_closing",
        "_first_token_ms",
        "_goes_on",
        "_handed_back",
        "_inherited",
        "_interruptible",
        "_log",
        "_observer",
        "_question",
        "_saved",
        "_saved_epoch",
        "_saving",
        "_spent",
        "_stopped",
        "_store",
        "_writer",
        "_written",
        "generation",
        "stateless",
    )

    def __init__(
        self,
        generation: Generation,
        question: Question,
        *,
        store: Store,
        log: StreamLog,
        bounds: Bounds,
        observer: Observer,
        epoch: int = 0,
        stateless: bool = False,
        inherited: Inherited | None = None,
    ) -> None:
        self.generation = generation
        self.stateless = stateless
        self._inherited = inherited
        self._question = question
        self._store = store
        self._log = log
        self._bounds = bounds
        self._observer = observer
        self._closing = Closing(
            store, log, observer, store_retry_seconds=bounds.store_retry_seconds
        )
        self._began = time.monotonic()
        self._first_token_ms: int | None = None
        self._stopped: Outcome | None = None
        self._interruptible: asyncio.Timeout | None = None
        self._handed_back = False
        self._spent = inherited and inherited.spent  # by models whose text was given up
        self._written = False  # whether readers may have seen anything that is said here
        begun = inherited.text if inherited else ""
        self._attempt = Attempt(question, question.models[0], bounds, begun=begun)
        self._goes_on = bool(begun)
        self._saved_epoch = 0
        self._become_author(self._attempt)
        self._writer = Writer(
            generation,
            store,
            log,
            text=lambda: self._author.draft.text(),  # noqa: PLW0108 - of whoever is it then
            fitted=lambda: self._author.prompt.fitted,
            lost=self._interrupt,
            epoch=epoch,
        )

    def _begin_attempt(self, model: Model) -> None:
        if self._goes_on:
            self._goes_on = False
            return
        if self._attempt is not self._author or not self._written:
            self._spent = self._with_counted()
        self._attempt = Attempt(self._question, model, self._bounds)
        if not (self._written or self._author.begun):
            self._become_author(self._attempt)

    def _with_counted(self) -> Usage | None:
        """What was spent, and what the attempt has counted that is not to be the answer."""
        counted = self._attempt.counted()
        return together(self._spent, counted) if counted else self._spent

    def _become_author(self, attempt: Attempt) -> None:
        """The answer's text is the attempt's draft, in the log as far as self._writer says."""
        self._author = attempt
        self._saved = 0  # how many pieces of it are checkpointed
        self._saving: tuple[int, Checkpoint] | None = None  # up to how many, and the words for it

    async def run(self) -> None:
        """From the first event to the stored end. Never raises but when it is cancelled."""
        try:
            outcome = await self._produce()
            if outcome is None:
                await self._leave_to_others()
            else:
                await self._end(outcome)
        except StaleFence:
            _log.warning("generation.taken_over", generation_id=self.generation.id)
            await self._closing.leave(self.generation.id)
        except Exception:  # noqa: BLE001 - the outermost frame of a task
            # Readers must not wait for what cannot come.
            _log.exception("generation.lost", generation_id=self.generation.id)
            outcome = failed(
                Code.UPSTREAM_ERROR, "The answer broke off; the server's log says why."
            )
            ending = self._ending(outcome, self._new_epoch())
            await self._closing.give_up(self.generation, ending, self._question.text)
        finally:
            self._writer.close()
            self._writer.forget()

    @property
    def stopped(self) -> bool:
        """Whether it was stopped from outside."""
        return self._stopped is not None

    def stop(self, outcome: Outcome) -> None:
        """Stops the model; the text so far is kept. Without effect once producing has ended."""
        if self._stopped is None:
            self._stopped = outcome
            self._interrupt()

    def hand_back(self) -> None:
        """Stops the model; another instance is to go on. Without effect once producing has ended."""
        if self._stopped is None:
            self._handed_back = True
            self._interrupt()

    def lose(self) -> None:
        """Another instance is the owner by now: nothing is written any more."""
        self._writer.lose()

    def _interrupt(self) -> None:
        if self._interruptible is not None:
            if not self._interruptible.expired():  # it is interrupted already
                self._interruptible.reschedule(asyncio.get_running_loop().time())
        else:
            self._writer.interrupt()

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
        position, upto = self._writer.position, self._writer.confirmed
        if position is None:
            return None
        if position.epoch != self._saved_epoch:  # of each epoch all is saved
            self._saved_epoch, self._saved, self._saving = position.epoch, 0, None
        if self._saving is None and upto > self._saved:
            text = self._author.draft.text(self._saved, upto)
            generation = self.generation
            self._saving = (upto, Checkpoint(generation.id, generation.fence, position, text))
        return self._saving and self._saving[1]

    def saved(self) -> None:
        """What `unsaved` gave is in the store."""
        if self._saving is not None:
            self._saved, self._saving = self._saving[0], None

    async def _produce(self) -> Outcome | None:
        """None: another instance is to go on."""
        try:
            if not self._halted:
                await self._open()
            async with asyncio.timeout(None) as self._interruptible:
                if not self._halted:
                    return await self._ask_around()
        except StaleFence:
            raise
        except Exception as error:
            if self._writer.fault is not None:
                raise self._writer.fault from error
            # A library that is interrupted may well raise something of its own. And an answer
            # whose finish reason has come is whole, however the connection ends.
            outcome = self._stopped or self._whole()
            if outcome is None and not self._handed_back:
                outcome = _outcome_of(error)
            return outcome
        finally:
            self._interruptible = None
        return self._stopped

    @property
    def _halted(self) -> bool:
        return self._stopped is not None or self._handed_back or self._writer.fault is not None

    async def _open(self) -> None:
        begun = self._inherited
        if begun is None or self.generation.epoch == 0:
            await self._begin_epoch(self.generation.start())
        else:
            await self._begin_epoch(Reset(begun.text))

    async def _begin_epoch(self, first: Event) -> None:
        abort_by = await self._writer.begin(first)
        if abort_by is not None:
            self.stop(aborted(abort_by))

    async def _ask_around(self) -> Outcome:
        return await ask_around(
            self._question.models,
            self._ask_apart,
            retries=self._bounds.retries,
            may_pass_on=self._may_pass_on,
            may_retry=lambda: not (self._written or self._halted),
            told=self._observer,
        )

    def _may_pass_on(self) -> bool:
        if self._halted or self._whole() is not None:
            return False
        return self._question.restarts or not self._written

    async def _ask_apart(self, model: Model) -> Outcome:
        # In a task of its own, which ends with this: what comes wakes that alone, and not with it
        # all that stands around it.
        return await asyncio.create_task(self._ask(model))

    async def _ask(self, model: Model) -> Outcome:
        self._begin_attempt(model)
        attempt = self._attempt
        async with attempt.place(), aclosing(attempt.stream()) as batches:
            async for batch in batches:
                gap = attempt.hear()
                if events := attempt.events(batch):
                    if self._written and attempt is self._author:
                        self._observer.waited(model.alias, gap)
                    else:
                        await self._take_over(attempt)
                    self._write(events)
                # A library may have swallowed the interruption.
                if self._stopped is not None:
                    return self._stopped
                if self._handed_back:
                    raise TimeoutError
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

    async def _take_over(self, attempt: Attempt) -> None:
        """The answer is the attempt's from now on; what readers have of another's is void."""
        if attempt is not self._author:
            spent = together(self._spent, self._author.used(whole=False))
            await self._begin_anew()
            self._spent = spent
            self._become_author(attempt)
            await self._name(attempt)
        elif not self._written and attempt.model is not self._question.models[0]:
            await self._name(attempt)

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

    def _write(self, events: Sequence[Event]) -> None:
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        pieces = [event.text for event in events if isinstance(event, Token)]
        self._author.draft.write(pieces)
        self._writer.write(events, len(pieces))
        self._written = True

    async def _settle(self) -> Position | None:
        """The last position, once the log has all of the text; None if it has not for long."""
        if held_back := self._author.draft.flush():
            self._write([Token(piece) for piece in held_back])
        settled = await self._writer.settle(self._bounds.log_retry_seconds)
        return self._writer.position if settled else None

    async def _end(self, outcome: Outcome) -> None:
        last = await self._settle()
        self._writer.close()
        ending = self._ending(outcome, last or self._new_epoch())
        await self._closing.end(self.generation, ending, self._question.text, last)

    async def _leave_to_others(self) -> None:
        await self._settle()
        self._writer.close()
        generation = self.generation
        unsaved = self.unsaved()
        try:
            await self._store.hand_back(generation.id, generation.fence, unsaved)
        except RunnelError:  # its lease runs out by itself
            _log.warning("generation.not_handed_back", generation_id=generation.id)
        else:
            _log.info("generation.handed_back", generation_id=generation.id)

    def _new_epoch(self) -> Position:
        """Where the first event of an epoch stands whose end no position of the log's is."""
        epoch = self._writer.epoch
        if self.generation.epoch == 0 and epoch <= 1 and not len(self._author.draft):
            return Position(1, 0)  # which may have begun already: with `start`
        return Position(max(epoch, self.generation.epoch) + 1, 0)

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
        before = self._inherited.age_seconds if self._inherited else 0.0
        return round((time.monotonic() - self._began + before) * 1000)


def _name_of(model: Model) -> ModelName:
    return ModelName(model.alias, model.provider, model.provider_model)


def _outcome_of(error: Exception) -> Outcome:
    if isinstance(error, RunnelError):
        return failed(
            error.code, error.message, retryable=error.retryable, retry_after=error.retry_after
        )
    _log.error("generation.failed_unexpectedly", exc_info=error)
    return failed(Code.UPSTREAM_ERROR, "The answer broke off; the server's log says why.")
