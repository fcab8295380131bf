"""What an export says of a session, its attachments and its messages: facts alone, as they restore.

Nothing in them depends on when, where or by whom they were exported. Read back, they are strict.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final, Literal

import orjson
from pydantic import AfterValidator, ConfigDict, Field

from runnel.chat.entities import Role, Status
from runnel.errors import Code
from runnel.events import FinishReason

#: What the exports of this version begin with; another number is another format.
VERSION: Final = 1
_STRICT: Final = ConfigDict(extra="forbid", strict=True)


def _storable(text: str) -> str:
    """No database takes NUL, and no text that was stored has one."""
    return text.replace("\0", "\ufffd")


def _in_utc(moment: datetime) -> datetime:
    if moment.utcoffset() != timedelta():
        raise ValueError("is a time in UTC, as 2026-01-31T12:00:00Z")
    return moment


def _encodable(value: dict[str, Any]) -> dict[str, Any]:
    """What could be stored but not exported again: integers of over 64 bits, a deep nest."""
    try:
        orjson.dumps(value)
    except TypeError as error:
        raise ValueError(f"holds what cannot be kept: {error}") from None
    return value


Id = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
SafeText = Annotated[str, AfterValidator(_storable)]
Short = Annotated[SafeText, Field(max_length=255)]
Moment = Annotated[datetime, AfterValidator(_in_utc)]
Count = Annotated[int, Field(ge=0, lt=2**31)]
#: Of any number of them there is a sum: Postgres refuses one that is too large.
Amount = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]
JsonObject = Annotated[dict[str, Any], AfterValidator(_encodable)]
EndPosition = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}-(0|[1-9][0-9]{0,8})$")]


@dataclass(frozen=True, slots=True)
class SettingsRecord:
    __pydantic_config__: ClassVar = _STRICT
    model_preference: Short | None
    language: Annotated[SafeText, Field(max_length=64)] | None
    stream_responses: bool
    system_prompt: SafeText | None


@dataclass(frozen=True, slots=True)
class MetadataRecord:
    __pydantic_config__: ClassVar = _STRICT
    user_agent: SafeText | None
    ip_address: SafeText | None
    client_version: SafeText | None


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session; `active_message_id` is the last message of its active branch."""

    __pydantic_config__: ClassVar = _STRICT
    session_id: Id
    name: Annotated[SafeText, Field(max_length=128)] | None
    title: SafeText | None
    title_by: Literal["question", "asking", "model", "user"] | None
    project_id: Annotated[SafeText, Field(max_length=128)] | None
    started_at: Moment
    last_activity: Moment
    closed_at: Moment | None
    settings: SettingsRecord
    metadata: MetadataRecord
    active_message_id: Id | None


@dataclass(frozen=True, slots=True)
class AttachmentRecord:
    """A file that messages of the session have, without its bytes."""

    __pydantic_config__: ClassVar = _STRICT
    attachment_id: Id
    name: SafeText
    media_type: Annotated[SafeText, Field(max_length=128)]
    bytes: Annotated[int, Field(ge=0, lt=2**63)]
    width: Count | None
    height: Count | None
    characters: Count | None
    created_at: Moment


@dataclass(frozen=True, slots=True)
class GivenAttachment(AttachmentRecord):
    """The same as a file brings it back; `data` is its bytes in base64."""

    data: str


@dataclass(frozen=True, slots=True)
class ReactionsRecord:
    __pydantic_config__: ClassVar = _STRICT
    helpful: bool | None
    rating: Annotated[int, Field(ge=1, le=5)] | None


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """What is counted of a live answer is its prompt alone."""

    __pydantic_config__: ClassVar = _STRICT
    prompt_tokens: Count
    completion_tokens: Count | None
    source: Literal["provider", "estimated"] | None
    cost: Amount | None


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """`retry_after` in seconds."""

    __pydantic_config__: ClassVar = _STRICT
    code: Code
    message: SafeText
    retryable: bool
    retry_after: Amount | None


@dataclass(frozen=True, slots=True)
class ContextRecord:
    """What of the talk the model was given."""

    __pydantic_config__: ClassVar = _STRICT
    messages: Count
    left_out: Count
    attachments_cut: Count
    attachments_left_out: Count


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """How an answer was made. `position` is that of the last event, None before there was one."""

    __pydantic_config__: ClassVar = _STRICT
    generation_id: Id
    user_message_id: Id
    model: Short
    provider: Annotated[SafeText, Field(max_length=64)]
    provider_model: Short
    agent: SafeText | None
    params: JsonObject
    context: ContextRecord | None
    status: Status
    position: EndPosition | None
    finish_reason: FinishReason | None
    aborted_by: Annotated[SafeText, Field(max_length=16)] | None
    error: ErrorRecord | None
    usage: UsageRecord
    created_at: Moment
    first_token_ms: Count | None
    latency_ms: Count | None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """A message; `attachments` are ids, in their order."""

    __pydantic_config__: ClassVar = _STRICT
    message_id: Id
    session_id: Id
    parent_id: Id | None
    role: Role
    content: SafeText
    timestamp: Moment
    reactions: ReactionsRecord
    attachments: tuple[Id, ...]
    generation: GenerationRecord | None
