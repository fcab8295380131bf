"""Takes the reasoning out of an answer that thinks aloud: `<think>…</think>` before all else.

Open models' servers send it so where nobody told them to send it apart. Only what stands at the
very beginning is reasoning; later an answer may well speak of such tags.
"""

from collections.abc import Callable
from typing import Any

#: A step gives: what is shown, what is held back, and the next step (Any: it is of this type too).
_Step = Callable[[str], tuple[str, str, Any]]


class Thinking:
    """Fed piece by piece. What might be half of a tag is held back."""

    __slots__ = ("_close", "_held", "_open", "_step")

    def __init__(self, tag: str = "think") -> None:
        self._open = f"<{tag}>"
        self._close = f"</{tag}>"
        self._held = ""
        self._step: _Step = self._before

    def feed(self, text: str) -> str:
        """The text that is certain to be the answer's."""
        if self._step is _answer:  # nothing is held back any more
            return text
        self._held += text
        while True:
            step = self._step
            shown, self._held, self._step = step(self._held)
            if shown or self._step == step:
                return shown

    def flush(self) -> str:
        """What was held back, now that nothing more comes; unfinished reasoning is no text."""
        held, self._held = self._held, ""
        return "" if self._step == self._inside else held

    def _before(self, held: str) -> tuple[str, str, _Step]:
        begin = held.lstrip()
        if begin.startswith(self._open):
            return "", begin[len(self._open) :], self._inside
        if self._open.startswith(begin):  # an empty one too
            return "", held, self._before
        return held, "", _answer

    def _inside(self, held: str) -> tuple[str, str, _Step]:
        _, found, rest = held.partition(self._close)
        if found:
            return "", rest, _behind
        return "", held[-(len(self._close) - 1) :], self._inside


def _behind(held: str) -> tuple[str, str, _Step]:
    # The blank line that sets the answer apart from the reasoning.
    rest = held.lstrip("\n")
    return ("", "", _behind) if not rest else (rest, "", _answer)


def _answer(held: str) -> tuple[str, str, _Step]:
    return held, "", _answer
