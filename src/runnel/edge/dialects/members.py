"""The JSON members of events, shared by every dialect that shows them."""

from typing import Any, Literal, NotRequired, assert_never

from typing_extensions import TypedDict

from runnel.events import Aborted, End, Event, Failed, Reset, Start, Token, ToolCall, Usage


class UsageShape(TypedDict):
    """`cost` only where the alias has a price, and in what that is in."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    source: Literal["provider", "estimated"]
    cost: NotRequired[float]


def usage_members(usage: Usage) -> UsageShape:
    shown: UsageShape = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "source": usage.source,
    }
    if usage.cost is not None:
        shown["cost"] = usage.cost
    return shown


def members(event: Event) -> dict[str, Any]:
    """What an event says, without its type and position."""
    match event:
        case Token() | Reset():
            return {"text": event.text}
        case ToolCall():
            return {
                "index": event.index,
                "id": event.id,
                "name": event.name,
                "arguments": event.arguments,
            }
        case Start():
            return {
                "generation_id": event.generation_id,
                "session_id": event.session_id,
                "message_id": event.message_id,
                "user_message_id": event.user_message_id,
                "model": event.model,
            }
        case End():
            return {
                "finish_reason": event.finish_reason,
                "usage": usage_members(event.usage),
                "model": event.model,
                "provider": event.provider,
                "provider_model": event.provider_model,
                "text_length": event.text_length,
                "latency_ms": event.latency_ms,
                "first_token_ms": event.first_token_ms,
            }
        case Aborted():
            return {"by": event.by, "usage": usage_members(event.usage)}
        case Failed():
            return {"code": event.code, "message": event.message, "retryable": event.retryable}
        case _:
            assert_never(event)
