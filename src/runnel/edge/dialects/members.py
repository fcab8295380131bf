"""The JSON members of events, shared by every dialect that shows them."""

from typing import Any, Literal, assert_never

from typing_extensions import TypedDict

from runnel.events import Aborted, End, Event, Failed, Reset, Start, Token, Usage


class UsageShape(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    source: Literal["provider", "estimated"]


def usage_members(usage: Usage) -> UsageShape:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "source": usage.source,
    }


def members(event: Event) -> dict[str, Any]:
    """What an event says, without its type and position."""
    match event:
        case Token() | Reset():
            return {"text": event.text}
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
