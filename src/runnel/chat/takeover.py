"""Goes on with an answer whose instance is gone: continues it, begins it anew, or ends it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import structlog

from runnel.chat.closing import Closing
from runnel.chat.entities import Ending, Generation, Params, Turn
from runnel.chat.inherited import Inherited
from runnel.chat.making import Making
from runnel.chat.model_ports import Candidates
from runnel.chat.outcomes import Outcome, aborted, interrupted
from runnel.chat.ports import Recovered, StaleFence, StreamLog
from runnel.chat.running import Running
from runnel.chat.sessions.values import SessionSettings
from runnel.chat.text import estimate_tokens
from runnel.errors import RunnelError
from runnel.events import Position, Usage

_log = structlog.stdlib.get_logger()
#: The fence that no answer is begun anew with: what has ended so many instances might end them all.
_LAST_FENCE: Final = 10
_STORE_PAUSE: Final = 0.1

Policy = Literal["restart", "continue", "fail"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A generation that was taken over, its text as it was checkpointed.

    `abort_by`: somebody has asked to abort it. `prompt_tokens` are those of whom was asked last.
    """

    generation: Generation
    params: Params
    prompt_tokens: int
    stateless: bool
    needs_reader: bool
    abort_by: str | None
    age_seconds: float


@dataclass(frozen=True, slots=True)
class Reopened:
    """What an answer answers: as chat.ports.Begun says."""

    turns: Sequence[Turn]
    settings: SessionSettings
    beyond: int


class TakeoverStore(Protocol):
    """Raises RunnelError `store_unavailable`."""

    async def reopen(self, taken: Taken) -> Reopened | None:
        """What it is to answer; None if that is gone."""
        ...


class Takeover:
    """Takes over what `policy` says; what is asked without a session only its client could read,
    who has gone with the instance: it is ended.
    """

    def __init__(
        self,
        store: TakeoverStore,
        log: StreamLog,
        making: Making,
        running: Running,
        closing: Closing,
        *,
        policy: Policy,
        log_retry_seconds: float,
    ) -> None:
        self._store = store
        self._log = log
        self._making = making
        self._running = running
        self._closing = closing
        self._policy: Policy = policy
        self._log_retry_seconds = log_retry_seconds

    async def resume(self, taken: Taken) -> None:
        """Never raises but when it is cancelled."""
        generation = taken.generation
        try:
            with self._running.holding(generation.id):
                await self._resume(taken)
        except StaleFence:
            _log.warning("generation.taken_over", generation_id=generation.id)
        except Exception:  # noqa: BLE001 - the outermost frame of a task
            # Its lease runs out, and somebody tries again.
            _log.exception("generation.not_taken_over", generation_id=generation.id)

    async def _resume(self, taken: Taken) -> None:
        recovered = await self._recovered(taken.generation)
        reopened = await self._reopened(taken)
        outcome = self._end_at_once(taken)
        candidates = None
        if outcome is None and reopened is not None:
            candidates = self._candidates(taken, reopened)
        if reopened is None or candidates is None:
            await self._end(taken, recovered, outcome or interrupted(), reopened)
            return
        producer = await self._making.producer(
            taken.generation,
            reopened,
            candidates,
            taken.params,
            inherited=self._inherited(taken, recovered, candidates),
        )
        self._running.start(producer, needs_reader=taken.needs_reader)

    async def _recovered(self, generation: Generation) -> Recovered | None:
        """What the log has of the present epoch, if it is there and answers soon."""
        try:
            async with asyncio.timeout(self._log_retry_seconds):
                found = await self._log.recover(generation.id, generation.fence)
        except TimeoutError:
            return None
        return found if found and found.last.epoch == generation.epoch else None

    async def _reopened(self, taken: Taken) -> Reopened | None:
        while True:
            try:
                return await self._store.reopen(taken)
            except RunnelError:
                await asyncio.sleep(_STORE_PAUSE)

    def _end_at_once(self, taken: Taken) -> Outcome | None:
        if taken.abort_by is not None:
            return aborted(taken.abort_by)
        last = taken.generation.fence >= _LAST_FENCE
        return interrupted() if taken.stateless or self._policy == "fail" or last else None

    def _candidates(self, taken: Taken, reopened: Reopened) -> Candidates | None:
        try:
            return self._making.candidates(taken.generation, reopened, taken.params)
        except RunnelError as error:
            _log.warning(
                "generation.not_gone_on_with", generation_id=taken.generation.id, why=error.message
            )
            return None

    def _inherited(
        self, taken: Taken, recovered: Recovered | None, candidates: Candidates
    ) -> Inherited:
        text = _text(taken, recovered)
        spent = self._spent(taken, text) if text else None
        goes_on = self._policy == "continue" and candidates.models[0].terms.prefill
        return Inherited(text if goes_on else "", spent, taken.age_seconds)

    async def _end(
        self,
        taken: Taken,
        recovered: Recovered | None,
        outcome: Outcome,
        reopened: Reopened | None,
    ) -> None:
        generation = taken.generation
        text = _text(taken, recovered)
        ending = Ending(
            status=outcome.status,
            text=text,
            # Whoever attaches finds a `reset` (or, before anything was, a `start`) before it.
            position=Position(generation.epoch + 1, 1),
            usage=self._spent(taken, text),
            failure=outcome.failure,
            aborted_by=outcome.aborted_by,
            latency_ms=round(taken.age_seconds * 1000),
        )
        question = reopened.turns[-1].text if reopened and reopened.turns else ""
        await self._closing.end(generation, ending, question, None)
        self._running.tell_ended(generation.id)

    def _spent(self, taken: Taken, text: str) -> Usage:
        used = Usage(taken.prompt_tokens, estimate_tokens(text), "estimated")
        return self._making.priced(taken.generation.model, used)


def _text(taken: Taken, recovered: Recovered | None) -> str:
    return recovered.text if recovered else taken.generation.text
