"""What a record must be beyond its shape, before it is brought back."""

import base64
import binascii
from dataclasses import replace

from runnel.chat.attachments.names import file_name
from runnel.chat.entities import INTERRUPTED, Status
from runnel.chat.sessions.import_values import invalid
from runnel.chat.sessions.records import (
    ErrorRecord,
    GenerationRecord,
    GivenAttachment,
    MessageRecord,
    UsageRecord,
)
from runnel.chat.text import estimate_tokens
from runnel.events import Position

_INTERRUPTED = ErrorRecord(
    INTERRUPTED.code, INTERRUPTED.message, INTERRUPTED.retryable, INTERRUPTED.retry_after
)


def ended(message: MessageRecord, place: str) -> MessageRecord:
    """A message whose answer has ended: one that was being made is interrupted, as by a crash.

    Raises RunnelError `invalid_request` for an answer that cannot have ended so.
    """
    if len(set(message.attachments)) < len(message.attachments):
        raise invalid(place, "attachments: one is named twice")
    made = message.generation
    if made is None:
        return message
    if message.role != "assistant":
        raise invalid(place, "generation: is of an assistant's message only")
    if not made.status.terminal:
        return replace(message, generation=_interrupted(made, message.content))
    fault = _fault(made)
    if fault is not None:
        raise invalid(place, f"generation.{fault}")
    return message


def attachment_content(given: GivenAttachment, place: str) -> bytes:
    """An attachment's bytes. Raises RunnelError `invalid_request` if they are not what was said, or
    if no upload would be called so: models and people are shown the name.
    """
    if file_name(given.name) != given.name:
        raise invalid(place, "name: no attachment can be called that")
    try:
        content = base64.b64decode(given.data, validate=True)
    except (binascii.Error, ValueError):
        raise invalid(place, "data: is no base64") from None
    if len(content) != given.bytes:
        raise invalid(place, f"data: has {len(content)} bytes, and not {given.bytes}")
    return content


def _interrupted(made: GenerationRecord, text: str) -> GenerationRecord:
    last = Position.parse(made.position) if made.position else None
    return replace(
        made,
        status=Status.INTERRUPTED,
        position=f"{last.epoch + 1 if last else 1}-1",
        error=_INTERRUPTED,
        usage=UsageRecord(made.usage.prompt_tokens, estimate_tokens(text), "estimated", None),
    )


def _fault(made: GenerationRecord) -> str | None:
    """What an answer lacks that has ended as it says."""
    if made.position is None:
        return "position: is missing, though it has ended"
    if made.usage.completion_tokens is None or made.usage.source is None:
        return "usage: is not whole, though it has ended"
    if made.status is Status.COMPLETED and made.finish_reason is None:
        return "finish_reason: is missing, though it is completed"
    if made.status in (Status.FAILED, Status.INTERRUPTED) and made.error is None:
        return f"error: is missing, though it has {made.status}"
    return None
