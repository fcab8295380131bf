"""Any LangChain chat model as the chat core's `Model`: its `astream`, in pieces of plain text."""

import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol, cast

import structlog
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
)

from runnel.chat.entities import Params, Turn
from runnel.chat.ports import Piece
from runnel.errors import RunnelError
from runnel.events import FinishReason, Usage

_log = structlog.stdlib.get_logger()
_CODE: Final = re.compile(r"[a-z][a-z_]{0,63}")

_MESSAGES: Final[Mapping[str, type[BaseMessage]]] = {
    "user": HumanMessage,
    "assistant": AIMessage,
    "system": SystemMessage,
}
_MOST_TOKENS: Final = 2**31 - 1
#: Words of servers that broke off and say so: no reason to call an answer whole.
_BROKE_OFF: Final = frozenset({"error", "network_error", "insufficient_system_resource", "abort"})
#: Providers' words for why an answer ended, as ours. What is not here counts as `stop`.
_REASONS: Final[Mapping[str, FinishReason]] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class Translate(Protocol):
    def __call__(self, error: Exception, *, begun: bool) -> RunnelError: ...


class LangChainModel:
    """Implements chat.ports.Model.

    `call_options` turns our params into the keyword arguments that the provider's class takes;
    `translate` turns what it raises into RunnelError, told whether the answer had begun.
    """

    def __init__(
        self,
        *,
        alias: str,
        provider: str,
        provider_model: str,
        chat_model: BaseChatModel,
        call_options: Callable[[Params], dict[str, Any]],
        translate: Translate,
    ) -> None:
        self.alias = alias
        self.provider = provider
        self.provider_model = provider_model
        self._chat_model = chat_model
        self._call_options = call_options
        self._translate = translate

    async def stream(
        self, turns: Sequence[Turn], params: Params
    ) -> AsyncGenerator[Sequence[Piece]]:
        begun = False
        messages = [_MESSAGES[turn.role](turn.text) for turn in turns]
        chunks = cast(
            "AsyncGenerator[AIMessageChunk]",
            self._chat_model.astream(messages, **self._call_options(params)),
        )
        try:
            async with aclosing(chunks):
                async for chunk in chunks:
                    yield (piece_of(chunk),)
                    begun = True
        except Exception as error:
            # Providers' clients raise anything, from ValueError to what their parsers raise.
            _log_failure(self.alias, error)
            raise self._translate(error, begun=begun) from error


def _log_failure(alias: str, error: Exception) -> None:
    """What an operator can act on. The provider's sentences stay out: they quote keys, prompts."""
    code = getattr(error, "code", None)
    _log.warning(
        "provider.failed",
        model=alias,
        error=type(error).__name__,
        provider_status=getattr(error, "status_code", None),
        provider_code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
    )


def piece_of(chunk: AIMessageChunk) -> Piece:
    """The text, finish reason and token count of a chunk. Reasoning and tool blocks are no text."""
    content = cast("object", chunk.content)
    text = content if isinstance(content, str) else str(chunk.text)
    reason = cast("dict[str, object]", chunk.response_metadata).get("finish_reason")
    usage = chunk.usage_metadata
    return Piece(
        text=text,
        finish_reason=_reason_of(str(reason)) if reason else None,
        usage=_usage_of(usage["input_tokens"], usage["output_tokens"]) if usage else None,
    )


def _reason_of(word: str) -> FinishReason | None:
    return None if word in _BROKE_OFF else _REASONS.get(word, "stop")


def _usage_of(prompt: object, completion: object) -> Usage | None:
    """A provider's count, unless it is none: then ours stands."""
    if not (isinstance(prompt, int) and isinstance(completion, int)):
        return None
    sensible = 0 <= prompt <= _MOST_TOKENS and 0 <= completion <= _MOST_TOKENS
    return Usage(prompt, completion, "provider") if sensible and prompt + completion else None
