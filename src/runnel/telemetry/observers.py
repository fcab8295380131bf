"""Who is told of answers: the metrics of everything, others of the ends alone."""

from collections.abc import Callable

import structlog

from runnel.chat.entities import Generation
from runnel.chat.ports import Observer

_log = structlog.stdlib.get_logger()
Listener = Callable[[Generation, str], None]


class Observers:
    """Implements chat.ports.Observer. What goes wrong in a listener is its own affair."""

    def __init__(self, counting: Observer, *listeners: Listener) -> None:
        self._counting = counting
        self._listeners = listeners
        # Nobody else wants these; the first is told of every piece of every answer.
        self.waited = counting.waited
        self.resumed = counting.resumed
        self.reset = counting.reset
        self.retried = counting.retried
        self.passed_on = counting.passed_on

    def ended(self, generation: Generation, question: str) -> None:
        for listener in (self._counting.ended, *self._listeners):
            try:
                listener(generation, question)
            except Exception:  # noqa: BLE001 - an answer does not fail for what is told of it
                _log.exception("telemetry.failed", generation_id=generation.id)
