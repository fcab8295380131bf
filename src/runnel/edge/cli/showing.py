"""How an answer of `runnel chat` is shown, on a terminal and elsewhere."""

import re
import sys
from typing import Final

import orjson
import typer
from rich.console import Console
from rich.text import Text

from runnel.chat.direct import Answer
from runnel.edge.dialects.members import usage_members

#: What drives a terminal: a model's text is anybody's.
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Screen:
    """Text as it comes: to a terminal without what would drive it, to all else byte for byte."""

    def __init__(self) -> None:
        self._terminal = Console(soft_wrap=True, highlight=False)
        self._aside = Console(stderr=True, highlight=False)
        self._waiting = self._aside.status(Text("waiting for the first word", "dim"))
        self._begun = False

    def wait(self) -> None:
        """Says that something is to come, if somebody watches."""
        if self._aside.is_terminal:
            self._waiting.start()

    def show(self, text: str) -> None:
        self._waiting.stop()
        self._begun = True
        if self._terminal.is_terminal:
            self._terminal.out(_CONTROLS.sub("\ufffd", text), end="", highlight=False)
        else:
            sys.stdout.buffer.write(text.encode())
            sys.stdout.buffer.flush()

    def leave(self) -> None:
        """Nothing more comes; whatever is said next begins a line."""
        self._waiting.stop()
        if self._begun:
            self.show("\n")

    def sum_up(self, answer: Answer) -> None:
        """What it took, for whoever watches."""
        if not self._aside.is_terminal:
            return
        by, usage = answer.answered_by, answer.usage
        first = (
            "" if answer.first_token_ms is None else f", the first after {answer.first_token_ms}"
        )
        words = [
            f"{by.alias} ({by.provider} {by.provider_model})",
            f"{usage.prompt_tokens} + {usage.completion_tokens} tokens ({usage.source})",
            f"{answer.latency_ms} ms{first}",
            answer.finish_reason,
        ]
        if usage.cost is not None:
            words.append(f"cost {usage.cost:g}")
        self._aside.print(Text(" · ".join(words), "dim"))


def print_json(answer: Answer) -> None:
    """The answer and what it took, as JSON."""
    by = answer.answered_by
    shown = {
        "text": answer.text,
        "alias": by.alias,
        "provider": by.provider,
        "model": by.provider_model,
        "finish_reason": answer.finish_reason,
        "usage": usage_members(answer.usage),
        "first_token_ms": answer.first_token_ms,
        "latency_ms": answer.latency_ms,
    }
    typer.echo(orjson.dumps(shown, option=orjson.OPT_INDENT_2))
