"""LangGraph graphs as models: whatever a graph's models say, token by token."""

import importlib
import sys
import traceback
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import structlog
from langchain_core.messages import AIMessage, AIMessageChunk

from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import Piece
from runnel.chat.terms import together
from runnel.errors import Code, RunnelError, StartupError
from runnel.models.langchain import Entry, LangChainModel, Speak, telling
from runnel.models.messages import messages_of
from runnel.models.pieces import Pieces, reason_of, usage_of

if TYPE_CHECKING:
    from runnel.events import FinishReason, Usage

_log = structlog.stdlib.get_logger()
#: LangChain's names of those who say of every answer why it ended: without that, it was cut.
_SAY_WHY: Final = frozenset({"openai", "bedrock_converse"})
#: What a graph's models are asked with, the graph itself says.
TAKES: Final = frozenset({"images"})


class Graph(Protocol):
    """What is needed of a compiled graph."""

    def astream(self, state: Any, *, stream_mode: str) -> AsyncGenerator[tuple[Any, Any]]: ...


def build(entry: Entry) -> LangChainModel:
    """The graph that the entry's model names. Raises StartupError if it cannot be had."""
    graph = _imported(entry.alias, entry.provider_model)
    return LangChainModel(entry, _speaking(graph), partial(_translate, entry.alias))


def _imported(alias: str, name: str) -> Graph:
    module_name, _, path = name.partition(":")
    place = f"aliases.{alias}.graph"
    here = str(Path.cwd())
    if here not in sys.path:  # a graph beside .env, as people try it first
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
        for part in path.split("."):
            found = getattr(found, part)
    except ImportError as error:
        hint = (
            "; install it where Runnel is installed: pip install langgraph"
            if (error.name or "").partition(".")[0] == "langgraph"
            else ""
        )
        raise StartupError(f"{place}: {error}{hint}") from None
    except Exception as error:
        # A module of the operator's own may raise anything.
        raise StartupError(f"{place}: {type(error).__name__}: {error}") from error
    if not hasattr(found, "astream"):
        raise StartupError(f"{place}: {name} is no compiled graph; call .compile() on it")
    return cast("Graph", found)


def _speaking(graph: Graph) -> Speak:
    @telling
    async def speak(turns: Sequence[Turn], _: Params) -> AsyncGenerator[Sequence[Piece]]:
        answer = _Answer()
        stream = graph.astream({"messages": messages_of(turns)}, stream_mode="messages")
        async with aclosing(stream):
            async for message, metadata in stream:
                if isinstance(message, AIMessage):
                    yield (answer.piece(message, metadata["langgraph_node"]),)
                else:
                    yield (Piece(),)  # a tool's result, or another sign of life
        yield (answer.end(),)

    return speak


class _Answer:
    """The messages of one run as one answer."""

    def __init__(self) -> None:
        self._pieces: dict[str | None, Pieces] = {}
        self._spoken: str | None = None  # the message that text was last shown of
        self._any = False
        self._usage: Usage | None = None
        self._reason: FinishReason = "stop"
        self._unfinished: set[str | None] = set()

    def piece(self, message: AIMessage, node: str) -> Piece:
        pieces = self._pieces.setdefault(message.id, Pieces())
        text = pieces.piece(message).text
        self._note(message)
        if text and self._any and message.id != self._spoken:
            text = f"\n\n{text}"  # two models' messages are two paragraphs
        if not text:
            return Piece()
        self._any, self._spoken = True, message.id
        return Piece(text, agent=node)

    def _note(self, message: AIMessage) -> None:
        usage = usage_of(message)
        if usage is not None:
            self._usage = together(self._usage, usage)
        reason = reason_of(message)
        self._reason = reason or self._reason
        if reason is not None:
            self._unfinished.discard(message.id)
        elif isinstance(message, AIMessageChunk) and _says_why(message):
            self._unfinished.add(message.id)

    def end(self) -> Piece:
        """The graph has run to its end. Its tools were its own: nobody else is to call them."""
        if self._unfinished:
            return Piece(usage=self._usage)
        reason = "stop" if self._reason == "tool_calls" else self._reason
        return Piece(finish_reason=reason, usage=self._usage)


def _says_why(chunk: AIMessageChunk) -> bool:
    metadata = cast("dict[str, object]", chunk.response_metadata)
    # A chunk behind the end, as one with the usage alone, is not the beginning of another.
    return metadata.get("model_provider") in _SAY_WHY and bool(chunk.content)


def _translate(alias: str, error: Exception, *, begun: bool) -> RunnelError:
    """A provider's fault inside a graph is a provider's fault; the rest is the graph's own."""
    packages = {name.partition(".")[0] for each in _chain(error) for name in _modules(each)}
    if "openai" in packages:
        from runnel.models import openai  # noqa: PLC0415 - only where a graph has loaded it anyway

        return openai.translate(alias, error, begun=begun)
    if "botocore" in packages:
        from runnel.models import bedrock_errors  # noqa: PLC0415 - same

        return bedrock_errors.translate(alias, error, begun=begun)
    _log.error("graph.failed", model=alias, exc_info=error)
    code = Code.UPSTREAM_INCOMPLETE if begun else Code.UPSTREAM_ERROR
    return RunnelError(code, f"The graph of {alias} failed; the server's log says why.")


def _chain(error: BaseException | None) -> Generator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _modules(error: BaseException) -> Generator[str]:
    """Where the error is from: its class, and whose code it passed. Clients let others' through."""
    yield type(error).__module__
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield frame.f_globals.get("__name__", "")
