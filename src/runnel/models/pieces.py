"""LangChain's chunks as the chat core's pieces: text, calls of tools, the end, the tokens."""

from collections.abc import Mapping
from typing import Any, Final, cast

from langchain_core.messages import AIMessage, AIMessageChunk

from runnel.chat.model_ports import Piece
from runnel.events import FinishReason, ToolCall, Usage
from runnel.models.thinking import Thinking

_MOST_TOKENS: Final = 2**31 - 1
#: Words of servers that broke off and say so: no reason to call an answer whole.
_BROKE_OFF: Final = frozenset(
    {
        "abort",
        "error",
        "insufficient_system_resource",
        "malformed_model_output",
        "malformed_tool_use",
        "network_error",
    }
)
#: Providers' words for why an answer ended, as ours. What is not here counts as `stop`.
_REASONS: Final[Mapping[str, FinishReason]] = {
    "content_filter": "content_filter",
    "content_filtered": "content_filter",
    "function_call": "tool_calls",
    "guardrail_intervened": "content_filter",
    "length": "length",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
}


#: Where a client keeps calls of tools that LangChain is not to read: in OpenAI's own form.
CALLS: Final = "runnel_calls"


class Pieces:
    """Reads the chunks of one answer. Reasoning is no text, whatever form it comes in.

    `thinks_aloud`: the provider may put its reasoning into the text, between tags before all else.
    """

    __slots__ = ("_calls", "_thinking")

    def __init__(self, *, thinks_aloud: bool = False, tag: str = "think") -> None:
        self._thinking = Thinking(tag) if thinks_aloud else None
        self._calls: dict[int | str | None, int] = {}  # the provider's index → ours

    def piece(self, chunk: AIMessage) -> Piece:
        """What one chunk says; of a whole message likewise."""
        reason = reason_of(chunk)
        return Piece(
            text=self._text(chunk, last=reason is not None),
            tool_calls=self._tool_calls(chunk),
            finish_reason=reason,
            usage=usage_of(chunk),
        )

    def ending(self, text: str, word: object, usage: Usage | None) -> Piece:
        """What a chunk says that may end the answer, for a reason in the provider's word."""
        reason = _reason(word)
        return Piece(self._fed(text, last=reason is not None), finish_reason=reason, usage=usage)

    def spoken(self, text: str) -> str:
        """What a chunk says that brings nothing but a piece of text, which may be empty."""
        return text if self._thinking is None else self._thinking.feed(text)

    def _text(self, chunk: AIMessage, *, last: bool) -> str:
        content = cast("object", chunk.content)
        return self._fed(content if isinstance(content, str) else str(chunk.text), last=last)

    def _fed(self, text: str, *, last: bool) -> str:
        if self._thinking is None:
            return text
        return self._thinking.feed(text) + (self._thinking.flush() if last else "")

    def _tool_calls(self, chunk: AIMessage) -> tuple[ToolCall, ...]:
        if raw := getattr(chunk, CALLS, None):
            return tuple(self._raw_call(call) for call in raw)
        if not isinstance(chunk, AIMessageChunk) or not chunk.tool_call_chunks:
            return ()
        return tuple(
            ToolCall(
                # Bedrock counts all blocks of an answer, text too; clients count calls.
                index=self._calls.setdefault(
                    call["index"] if call["index"] is not None else call["id"], len(self._calls)
                ),
                id=call["id"],
                name=call["name"],
                arguments=call["args"] or "",
            )
            for call in chunk.tool_call_chunks
        )

    def _raw_call(self, call: Mapping[str, Any]) -> ToolCall:
        function = cast("Mapping[str, Any]", call.get("function") or {})
        index = call.get("index")
        return ToolCall(
            index=self._calls.setdefault(
                call.get("id") if index is None else index, len(self._calls)
            ),
            id=_text_or_none(call.get("id")),
            name=_text_or_none(function.get("name")),
            arguments=_text_or_none(function.get("arguments")) or "",
        )


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)


def reason_of(chunk: AIMessage) -> FinishReason | None:
    metadata = cast("dict[str, object]", chunk.response_metadata)
    return _reason(metadata.get("finish_reason") or metadata.get("stopReason"))


def _reason(word: object) -> FinishReason | None:
    return None if not word or word in _BROKE_OFF else _REASONS.get(str(word), "stop")


def usage_of(chunk: AIMessage) -> Usage | None:
    """What a message says of its tokens."""
    if not chunk.usage_metadata:
        return None
    metadata = cast("Mapping[str, object]", chunk.usage_metadata)
    return counted(metadata.get("input_tokens"), metadata.get("output_tokens"))


def counted(prompt: object, completion: object) -> Usage | None:
    """A provider's count, unless it is none: then ours stands."""
    if not (isinstance(prompt, int) and isinstance(completion, int)):
        return None
    sensible = 0 <= prompt <= _MOST_TOKENS and 0 <= completion <= _MOST_TOKENS
    return Usage(prompt, completion, "provider") if sensible and prompt + completion else None
