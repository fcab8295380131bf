"""Sessions and their messages, as people are shown them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from runnel.chat.entities import Attachment, Failure, Role, Status
from runnel.chat.sessions.searching import Match
from runnel.chat.sessions.values import ClientInfo, SessionSettings
from runnel.events import FinishReason, Usage


class SessionStatus(StrEnum):
    """`idle`: nothing has happened in it for a while. `closed`: it takes no question."""

    ACTIVE = "active"
    IDLE = "idle"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Session:
    """One conversation. `message_count` is that of all its branches; `leaf_id` is the last message
    of the active one. `matches` is what was found in it, where something was searched for.
    """

    id: str
    user_id: str
    name: str | None
    project_id: str | None
    title: str | None
    status: SessionStatus
    started_at: datetime
    last_activity: datetime
    message_count: int
    running_generation_id: str | None
    leaf_id: str | None
    client: ClientInfo
    settings: SessionSettings
    matches: Sequence[Match] = ()


@dataclass(frozen=True, slots=True)
class Reactions:
    """What its reader thinks of an answer. `rating` is 1 to 5."""

    helpful: bool | None = None
    rating: int | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message. What an answer took is None for what no model has made, and while it is made.

    `agent_used` is the alias that answered, or the graph's node; `model` is always the alias.
    """

    id: str
    session_id: str
    project_id: str | None
    parent_id: str | None
    generation_id: str | None
    role: Role
    content: str
    status: Status
    created_at: datetime
    model: str | None = None
    provider: str | None = None
    provider_model: str | None = None
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    failure: Failure | None = None
    first_token_ms: int | None = None
    latency_ms: int | None = None
    agent_used: str | None = None
    attachments: Sequence[Attachment] = ()
    reactions: Reactions = Reactions()
