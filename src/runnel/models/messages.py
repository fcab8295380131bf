"""Turns as LangChain's messages."""

import json
from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import ToolCall as LangChainToolCall

from runnel.chat.entities import Image, Turn
from runnel.events import ToolCall


def messages_of(turns: Sequence[Turn]) -> list[BaseMessage]:
    return [_message(turn) for turn in turns]


def _message(turn: Turn) -> BaseMessage:
    content: Any = [_block(part) for part in turn.parts] or turn.text  # Any: LangChain's own form
    match turn.role:
        case "user":
            return HumanMessage(content, name=turn.name)
        case "system":
            return SystemMessage(content, name=turn.name)
        case "tool":
            return ToolMessage(content, tool_call_id=turn.tool_call_id or "")
        case "assistant":
            good, bad = _calls(turn.tool_calls)
            return AIMessage(content, name=turn.name, tool_calls=good, invalid_tool_calls=bad)


def _block(part: str | Image) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    url = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
    return {"type": "image_url", "image_url": url}


def _calls(calls: Sequence[ToolCall]) -> tuple[list[LangChainToolCall], list[InvalidToolCall]]:
    """Calls as LangChain keeps them: those whose arguments are an object, and the others."""
    good: list[LangChainToolCall] = []
    bad: list[InvalidToolCall] = []
    for call in calls:
        try:
            arguments = json.loads(call.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if isinstance(arguments, dict):
            given = cast("dict[str, Any]", arguments)
            good.append(LangChainToolCall(name=call.name or "", args=given, id=call.id))
        else:
            bad.append(
                InvalidToolCall(
                    type="invalid_tool_call",
                    name=call.name,
                    args=call.arguments,
                    id=call.id,
                    error=None,
                )
            )
    return good, bad
