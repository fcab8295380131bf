"""Sessions and messages as JSON, in both vocabularies."""

from datetime import datetime
from typing import NotRequired

from typing_extensions import TypedDict

from runnel.chat.entities import Attachment
from runnel.chat.sessions.entities import Reactions, Session, StoredMessage
from runnel.edge.dialects.members import UsageShape, usage_members
from runnel.edge.http.shapes import ErrorShape, error_members


class MetadataShape(TypedDict):
    user_agent: str | None
    ip_address: str | None
    client_version: str | None


class SettingsShape(TypedDict):
    model_preference: str | None
    language: str | None
    stream_responses: bool
    system_prompt: str | None


class MatchShape(TypedDict):
    """Where something was found: in a message, or, where `message_id` is null, in the title.

    `snippet` is HTML that is safe to show: a piece of the text with `<mark>` around what was found.
    """

    message_id: str | None
    snippet: str


class SessionShape(TypedDict):
    """`message_count` is that of all branches; `last_message_id` is of the active one.

    `matches` is there where something was searched for.
    """

    session_id: str
    name: str | None
    user_id: str
    project_id: str | None
    title: str | None
    status: str
    started_at: datetime
    last_activity: datetime
    message_count: int
    running_generation_id: str | None
    last_message_id: str | None
    metadata: MetadataShape
    settings: SettingsShape
    matches: NotRequired[list[MatchShape]]


class SessionsShape(TypedDict):
    sessions: list[SessionShape]
    next_cursor: str | None


class AttachedShape(TypedDict):
    """A file as its messages show it. A picture has a size in pixels, a document `characters`."""

    attachment_id: str
    name: str
    media_type: str
    bytes: int
    width: int | None
    height: int | None
    characters: int | None


class AttachmentShape(AttachedShape):
    """A file; `session_id` is that of the session which it was used in first, and belongs to."""

    session_id: str | None
    created_at: datetime


class MessageMetadataShape(TypedDict):
    """`processing_time` in seconds. What it took is null for what no model has made, and while it
    is made. `agent_used` is the graph's node where there is one, else `model`.
    """

    tokens_used: int | None
    processing_time: float | None
    agent_used: str | None
    model: str | None
    provider: str | None
    provider_model: str | None
    usage: UsageShape | None
    finish_reason: str | None
    first_token_ms: int | None
    error: ErrorShape | None
    attachments: list[AttachedShape]


class ReactionsShape(TypedDict):
    helpful: bool | None
    rating: int | None


class MessageShape(TypedDict):
    """`status` is that of the generation which makes it, else `completed`."""

    message_id: str
    session_id: str
    project_id: str | None
    parent_id: str | None
    generation_id: str | None
    role: str
    content: str
    status: str
    timestamp: datetime
    metadata: MessageMetadataShape
    reactions: ReactionsShape


class MessagesShape(TypedDict):
    messages: list[MessageShape]
    next_cursor: str | None


def session_shape(session: Session) -> SessionShape:
    client, settings = session.client, session.settings
    return {
        "session_id": session.id,
        "name": session.name,
        "user_id": session.user_id,
        "project_id": session.project_id,
        "title": session.title,
        "status": session.status,
        "started_at": session.started_at,
        "last_activity": session.last_activity,
        "message_count": session.message_count,
        "running_generation_id": session.running_generation_id,
        "last_message_id": session.leaf_id,
        "metadata": {
            "user_agent": client.user_agent,
            "ip_address": client.ip_address,
            "client_version": client.client_version,
        },
        "settings": {
            "model_preference": settings.model_preference,
            "language": settings.language,
            "stream_responses": settings.stream_responses,
            "system_prompt": settings.system_prompt,
        },
    }


def found_session_shape(session: Session) -> SessionShape:
    """A session with what was found in it."""
    matches: list[MatchShape] = [
        {"message_id": match.message_id, "snippet": match.snippet} for match in session.matches
    ]
    return {**session_shape(session), "matches": matches}


def message_shape(message: StoredMessage) -> MessageShape:
    return {
        "message_id": message.id,
        "session_id": message.session_id,
        "project_id": message.project_id,
        "parent_id": message.parent_id,
        "generation_id": message.generation_id,
        "role": message.role,
        "content": message.content,
        "status": message.status,
        "timestamp": message.created_at,
        "metadata": {
            "tokens_used": message.usage and message.usage.total_tokens,
            "processing_time": None if message.latency_ms is None else message.latency_ms / 1000,
            "agent_used": message.agent_used,
            "model": message.model,
            "provider": message.provider,
            "provider_model": message.provider_model,
            "usage": message.usage and usage_members(message.usage),
            "finish_reason": message.finish_reason,
            "first_token_ms": message.first_token_ms,
            "error": message.failure and error_members(message.failure),
            "attachments": [attached_shape(attachment) for attachment in message.attachments],
        },
        "reactions": reactions_shape(message.reactions),
    }


def attached_shape(attachment: Attachment) -> AttachedShape:
    return {
        "attachment_id": attachment.id,
        "name": attachment.name,
        "media_type": attachment.media_type,
        "bytes": attachment.bytes,
        "width": attachment.width,
        "height": attachment.height,
        "characters": attachment.characters,
    }


def attachment_shape(attachment: Attachment) -> AttachmentShape:
    return {
        **attached_shape(attachment),
        "session_id": attachment.session_id,
        "created_at": attachment.created_at,
    }


def reactions_shape(reactions: Reactions) -> ReactionsShape:
    return {"helpful": reactions.helpful, "rating": reactions.rating}
