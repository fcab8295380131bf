"""What sessions are called: by their first question at once, and then, once, by a cheap model.

No answer waits for a title, and no fault of one reaches anybody.
"""

import asyncio
import re
import unicodedata
from collections.abc import Coroutine
from dataclasses import replace
from typing import Final, Protocol

import structlog

from runnel.chat.attempt import Bounds, Question
from runnel.chat.direct import Asking
from runnel.chat.entities import Generation, Params, Status, Turn
from runnel.chat.model_ports import Catalog
from runnel.chat.prompt import whole
from runnel.chat.retrying import Retries
from runnel.errors import RunnelError

_log = structlog.stdlib.get_logger()
MOST_CHARACTERS: Final = 80
#: Of a text so many are looked through for a title: of a megabyte it took half a second.
_LOOKED_THROUGH: Final = 4096
#: So many titles are asked for at a time; what finds no room may be after a later answer.
_AT_A_TIME: Final = 4
_MOST_TOKENS: Final = 60
_MOST_BYTES: Final = 4096
#: How much of the question, and of the answer, the model is shown.
_SHOWN_CHARACTERS: Final = 2000
_INSTRUCTIONS: Final = (
    "Give the talk below a title of at most six words, in the language that it is held in."
    " Answer with the title alone: one line, no quotes, no full stop."
)
_LABEL: Final = re.compile(r"title\s*:", re.IGNORECASE)
_BEFORE: Final = " #>*_~`\"'“”„«»‘’‹›-"
_BEHIND: Final = " *_~`\"'“”«»‘’‹›"


class TitleStore(Protocol):
    """What is written of titles. Every call is one short transaction.

    Raises RunnelError `store_unavailable`.
    """

    async def begin_asking(self, session_id: str) -> bool:
        """Whether a model may be asked for the session's title: just one is told so, once."""
        ...

    async def set_asked(self, session_id: str, title: str) -> None:
        """The title that the model gave, unless somebody has set another meanwhile."""
        ...


class Titles:
    """Asks an alias for the titles of sessions whose first answer is whole."""

    def __init__(
        self, store: TitleStore, catalog: Catalog, alias: str, bounds: Bounds, *, seconds: float
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._alias = alias
        self._bounds = replace(
            bounds,
            first_token_seconds=seconds,
            idle_seconds=seconds,
            total_seconds=seconds,
            max_bytes=_MOST_BYTES,
            retries=Retries(0, 0),
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def ended(self, generation: Generation, question: str) -> None:
        """To be told of every end. Returns at once."""
        if generation.status is not Status.COMPLETED or not generation.text or self._closing:
            return
        if len(self._tasks) < _AT_A_TIME:
            task = asyncio.create_task(self._guarded(self._ask(generation, question)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Asks for no more, and gives up what is being asked."""
        self._closing = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _ask(self, generation: Generation, question: str) -> None:
        if not await self._store.begin_asking(generation.session_id):
            return
        candidates = self._catalog.candidates(self._alias)
        turns = [
            Turn("system", _INSTRUCTIONS),
            Turn(
                "user",
                f"Question:\n{question[:_SHOWN_CHARACTERS]}\n\n"
                f"Answer:\n{generation.text[:_SHOWN_CHARACTERS]}",
            ),
        ]
        bounded = all("max_tokens" in model.terms.takes for model in candidates.models)
        asked = Question(
            question,
            candidates.models,
            lambda _: whole(turns, system_prompt=None),
            Params(max_tokens=_MOST_TOKENS if bounded else None),
        )
        answer = await Asking(asked, self._bounds).answer()
        title = title_said(answer.text)
        if title is not None:
            await self._store.set_asked(generation.session_id, title)
        _log.info(
            "title.asked",
            model=answer.answered_by.alias,
            given=title is not None,
            latency_ms=answer.latency_ms,
            tokens=answer.usage.total_tokens,
        )

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except RunnelError as error:
            _log.warning("title.not_given", model=self._alias, code=error.code.value)
        except Exception as error:  # noqa: BLE001 - the outermost frame of a task
            # Its words may be those of the talk.
            _log.error("title.not_given", model=self._alias, error=type(error).__name__)


def title_of(question: str) -> str | None:
    """What a session is called by its first question: the first line of it that has words.

    At most MOST_CHARACTERS, cut behind a word. None for what has none.
    """
    line = _line_with_words(question)
    return None if line is None else _cut(line)


def title_said(answer: str) -> str | None:
    """The title in a model's answer, without what models like to put around it."""
    line = _line_with_words(answer)
    if line is None:
        return None
    bare = line.lstrip(_BEFORE).rstrip(_BEHIND)
    label = _LABEL.match(bare)
    if label is not None:
        bare = bare[label.end() :].lstrip(_BEFORE).rstrip(_BEHIND)
    return _cut(bare) if _has_words(bare) else None


def _line_with_words(text: str) -> str | None:
    lines = (_collapsed(line) for line in text[:_LOOKED_THROUGH].splitlines())
    return next((line for line in lines if _has_words(line)), None)


def _collapsed(line: str) -> str:
    shown = "".join(" " if unicodedata.category(each) == "Cc" else each for each in line)
    return " ".join(shown.split())


def _has_words(text: str) -> bool:
    return any(each.isalnum() for each in text)


def _cut(line: str) -> str:
    if len(line) <= MOST_CHARACTERS:
        return line
    begin = line[:MOST_CHARACTERS]  # one more than has room, which may be the space behind a word
    word_end = begin.rfind(" ")
    return f"{begin[:word_end] if word_end > 0 else begin[:-1]}…"
