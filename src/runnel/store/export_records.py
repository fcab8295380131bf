"""What an export says of rows: records, made of what is in them and nothing else."""

from typing import Any, cast

from sqlalchemy import Row

from runnel.chat.entities import Status
from runnel.chat.sessions.export_pages import Whole
from runnel.chat.sessions.records import (
    AttachmentRecord,
    ContextRecord,
    ErrorRecord,
    GenerationRecord,
    MetadataRecord,
    SessionRecord,
    SettingsRecord,
    UsageRecord,
)
from runnel.errors import Code
from runnel.events import FinishReason, Position


def generation(row: Row[*tuple[Any, ...]], position: Position | None) -> GenerationRecord:
    return GenerationRecord(
        generation_id=row.id,
        user_message_id=row.user_message_id,
        model=row.model,
        provider=row.provider,
        provider_model=row.provider_model,
        agent=row.agent,
        params=row.params,
        context=row.context and ContextRecord(**row.context),
        status=Status(row.status),
        position=position and str(position),
        finish_reason=cast("FinishReason | None", row.finish_reason),
        aborted_by=row.aborted_by,
        error=_error(row),
        usage=UsageRecord(row.prompt_tokens, row.completion_tokens, row.usage_source, row.cost),
        created_at=row.created_at,
        first_token_ms=row.first_token_ms,
        latency_ms=row.latency_ms,
    )


def _error(row: Row[*tuple[Any, ...]]) -> ErrorRecord | None:
    if row.error_code is None:
        return None
    return ErrorRecord(
        Code(row.error_code),
        row.error_message or "",
        retryable=row.error_retryable or False,
        retry_after=row.error_retry_after,
    )


def attachment(row: Row[*tuple[Any, ...]]) -> AttachmentRecord:
    return AttachmentRecord(
        attachment_id=row.id,
        name=row.name,
        media_type=row.media_type,
        bytes=row.bytes,
        width=row.width,
        height=row.height,
        characters=row.characters,
        created_at=row.created_at,
    )


def whole(row: Row[*tuple[Any, ...]]) -> Whole:
    session = SessionRecord(
        session_id=row.id,
        name=row.name,
        title=row.title,
        title_by=row.title_by,
        project_id=row.project_id,
        started_at=row.started_at,
        last_activity=row.last_activity,
        closed_at=row.closed_at,
        settings=SettingsRecord(
            row.model_preference, row.language, row.stream_responses, row.system_prompt
        ),
        metadata=MetadataRecord(row.user_agent, row.ip_address, row.client_version),
        active_message_id=row.leaf_id,
    )
    return Whole(session, row.held, row.last or "")
