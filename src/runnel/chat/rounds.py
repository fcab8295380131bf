"""Which model is asked when: the first, those that stand in for it, and all of them again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from runnel.chat.model_ports import Model, NotTakenError
from runnel.chat.retrying import Retries, worth_another
from runnel.errors import Code, RunnelError

T = TypeVar("T")


class Told(Protocol):
    """Is told what a round does; as chat.ports.Observer."""

    def retried(self, code: Code) -> None: ...
    def passed_on(self, model: str, code: Code) -> None: ...


async def ask_around(
    models: Sequence[Model],
    ask: Callable[[Model], Awaitable[T]],
    *,
    retries: Retries,
    may_pass_on: Callable[[], bool],
    may_retry: Callable[[], bool],
    told: Told,
) -> T:
    """Asks one after the other until one answers; where none took the question, all again.

    A model whose places are taken is passed over; the last one is waited for. Whether another may
    be asked after a fault, and whether all may, depends on what was said until then. Raises the
    last fault.
    """
    began = time.monotonic()
    rounds = 0
    while True:
        try:
            return await _ask_in_turn(models, ask, may_pass_on, told)
        except NotTakenError as error:
            rounds += 1
            elapsed = time.monotonic() - began
            pause = retries.pause(rounds, elapsed=elapsed, retry_after=error.retry_after)
            if pause is None or not may_retry():
                raise
            told.retried(error.code)
        await asyncio.sleep(pause)


async def _ask_in_turn(
    models: Sequence[Model],
    ask: Callable[[Model], Awaitable[T]],
    may_pass_on: Callable[[], bool],
    told: Told,
) -> T:
    *others, last = models
    for model in others:
        if model.places.full:
            told.passed_on(model.alias, Code.OVERLOADED)
            continue
        try:
            return await ask(model)
        except RunnelError as error:
            if not (worth_another(error) and may_pass_on()):
                raise
            told.passed_on(model.alias, error.code)
    return await ask(last)
