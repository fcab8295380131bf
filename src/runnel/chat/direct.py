"""One answer for whoever waits for it, without server, log or store."""

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, NoReturn

import structlog

from runnel.chat.attempt import Attempt, Bounds, Question
from runnel.chat.entities import ModelName
from runnel.chat.model_ports import Model
from runnel.chat.rounds import ask_around
from runnel.chat.terms import together
from runnel.errors import Code, RunnelError
from runnel.events import FinishReason, Token, Usage

_log = structlog.stdlib.get_logger()
#: How often it is looked whether the model has been silent for too long.
_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, and who gave it. Times in milliseconds."""

    text: str
    answered_by: ModelName
    finish_reason: FinishReason
    usage: Usage
    first_token_ms: int | None
    latency_ms: int


class Asking:
    """Asks the models of a question in turn, by the rules that a producer has; nothing is kept.

    `show` is given the text as it comes. What was shown stands: only without `show` can another
    model begin an answer anew.
    """

    def __init__(
        self, question: Question, bounds: Bounds, show: Callable[[str], None] | None = None
    ) -> None:
        self._question = question
        self._bounds = bounds
        self._show = show
        self._attempt: Attempt | None = None
        self._spent: Usage | None = None  # by models whose text was given up
        self._began = time.monotonic()
        self._first_token_ms: int | None = None

    async def answer(self) -> Answer:
        """Raises RunnelError with an `upstream_…` code. Cancelling it stops the model."""
        watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(self._bounds.total_seconds):
                return await self._ask_around()
        except TimeoutError:
            raise RunnelError(
                Code.UPSTREAM_TIMEOUT, "The answer took longer than is allowed."
            ) from None
        finally:
            watching.cancel()

    async def _watch(self) -> NoReturn:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            attempt = self._attempt
            if attempt is None:
                continue
            silence = attempt.overdue(self._bounds, begun=len(attempt.draft) > 0)
            if silence is not None:
                attempt.lose_patience(silence)

    async def _ask_around(self) -> Answer:
        return await ask_around(
            self._question.models,
            self._ask,
            retries=self._bounds.retries,
            may_pass_on=self._may_pass_on,
            may_retry=lambda: self._first_token_ms is None,
            told=_Logged(),
        )

    def _may_pass_on(self) -> bool:
        restarts = self._show is None and self._question.restarts
        return restarts or self._first_token_ms is None

    async def _ask(self, model: Model) -> Answer:
        attempt = self._attempt = Attempt(self._question, model, self._bounds)
        try:
            finish_reason = await self._hear_out(attempt)
        except RunnelError:
            # An answer whose finish reason has come is whole, however the connection ends.
            if attempt.finish_reason is None:
                if len(attempt.draft) > 0:
                    self._spent = together(self._spent, attempt.used(whole=False))
                raise
            finish_reason = attempt.finish_reason
        self._take(attempt, attempt.draft.flush())
        return Answer(
            text=attempt.draft.text(),
            answered_by=ModelName(model.alias, model.provider, model.provider_model),
            finish_reason=finish_reason,
            usage=together(self._spent, attempt.used(whole=True)),
            first_token_ms=self._first_token_ms,
            latency_ms=self._elapsed_ms(),
        )

    async def _hear_out(self, attempt: Attempt) -> FinishReason:
        async with attempt.place(), aclosing(attempt.stream()) as batches:
            async for batch in batches:
                attempt.hear()
                events = attempt.events(batch)
                self._take(attempt, [event.text for event in events if isinstance(event, Token)])
                # A library may have swallowed the interruption.
                if attempt.silence is not None:
                    raise attempt.silence
                if attempt.draft.full:
                    return "length"
        if attempt.finish_reason is None:
            raise RunnelError(
                Code.UPSTREAM_INCOMPLETE, "The provider broke off before the answer was whole."
            )
        return attempt.finish_reason

    def _take(self, attempt: Attempt, pieces: list[str]) -> None:
        if not pieces:
            return
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        attempt.draft.write(pieces)
        if self._show is not None:
            self._show("".join(pieces))

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._began) * 1000)


class _Logged:
    """Implements chat.rounds.Told."""

    def retried(self, code: Code) -> None:
        _log.info("answer.retried", code=code.value)

    def passed_on(self, model: str, code: Code) -> None:
        _log.warning("answer.passed_on", model=model, code=code.value)
