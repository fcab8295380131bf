"""The JSON shapes of answers, for the type checker and for the OpenAPI document alike."""

from datetime import datetime
from typing import Any, Final, Literal

from typing_extensions import TypedDict

from runnel.chat.entities import Failure
from runnel.edge.dialects.members import UsageShape


class AnswerShape(TypedDict):
    """A whole answer. `finish_reason` is `aborted` where somebody stopped it."""

    generation_id: str
    session_id: str
    message_id: str
    user_message_id: str
    text: str
    model: str
    provider: str
    provider_model: str
    finish_reason: str | None
    usage: UsageShape | None
    latency_ms: int | None
    first_token_ms: int | None


class ErrorShape(TypedDict):
    code: str
    message: str
    retryable: bool


def error_members(failure: Failure) -> ErrorShape:
    return {"code": failure.code, "message": failure.message, "retryable": failure.retryable}


class ContextShape(TypedDict):
    """What of a talk the model was given: so many messages, and of these some attachments only in
    part. What had no room is left out, oldest first.
    """

    messages: int
    left_out: int
    attachments_cut: int
    attachments_left_out: int


class GenerationShape(TypedDict):
    """The making of an answer; `text` is exactly what had come up to `position`. `context` is null
    before the model is asked, and where the client keeps the talk.
    """

    generation_id: str
    session_id: str
    message_id: str
    status: str
    model: str
    provider: str
    text: str
    position: str | None
    context: ContextShape | None
    usage: UsageShape | None
    finish_reason: str | None
    error: ErrorShape | None
    created_at: datetime
    first_token_ms: int | None
    latency_ms: int | None


class GenerationsShape(TypedDict):
    generations: list[GenerationShape]
    next_cursor: str | None


class AcceptedShape(TypedDict):
    """Where an answer can be read, and aborted; `events_url` carries the ticket already."""

    generation_id: str
    session_id: str
    message_id: str
    user_message_id: str
    status: str
    events_url: str
    abort_url: str
    ticket: str


class PollShape(TypedDict):
    """Events, each with its `position`, its `type` and what else it says.

    `position` is that of the last event read, to go on from; `done` once the end was read.
    """

    events: list[dict[str, Any]]
    position: str | None
    done: bool


class TicketShape(TypedDict):
    """`expires_in` in seconds."""

    ticket: str
    expires_in: int


class TokensShape(TypedDict):
    """`expires_in` in seconds."""

    access_token: str
    token_type: Literal["bearer"]
    expires_in: int
    refresh_token: str


class UserShape(TypedDict):
    id: str
    username: str
    role: Literal["user", "admin"]


class LimitsShape(TypedDict):
    """Questions in the window of a minute; `reset_in` seconds until the next place frees."""

    used: int
    limit: int
    reset_in: int


class MeShape(UserShape):
    limits: LimitsShape


class KeyShape(TypedDict):
    id: str
    name: str
    prefix: str
    created_at: datetime


class NewKeyShape(KeyShape):
    key: str


class KeysShape(TypedDict):
    keys: list[KeyShape]
    next_cursor: str | None


class ModelShape(TypedDict):
    alias: str
    provider: str
    model: str
    available: bool


class ModelsShape(TypedDict):
    default: str | None
    models: list[ModelShape]


class SpentShape(TypedDict):
    """`cost` is null where no model has a price, and else in what prices are in."""

    generations: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: float | None


class DayUsageShape(SpentShape):
    """`date` is a day in UTC, `model` an alias."""

    date: str
    model: str
    provider: str


class UsageOfDaysShape(TypedDict):
    usage: list[DayUsageShape]
    next_cursor: str | None
    total: SpentShape


class HealthShape(TypedDict):
    status: Literal["ok"]


class ReadinessShape(TypedDict):
    status: Literal["ok", "unavailable"]
    components: dict[str, str]


class FaultShape(TypedDict):
    field: str
    message: str


class ProblemShape(TypedDict, total=False):
    """Any error (RFC 9457). `code` is stable; `errors` names the fields at fault."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FaultShape]


Responses = dict[int | str, dict[str, Any]]

STREAM: Final[Responses] = {200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}}
READ_TO_THE_END: Final[Responses] = {
    204: {"description": "The position is the last one: there is nothing more to come"}
}
ANY_PROBLEM: Final[Responses] = {
    "default": {
        "description": "Any error",
        "model": ProblemShape,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemShape"}}
        },
    }
}


def shaped(shape: type, status: int = 200) -> Responses:
    """For a route's `responses`: what it answers with that status."""
    return {status: {"model": shape}}
