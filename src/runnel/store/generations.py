"""Queries of generations and their checkpoints. Ends are decided here, by compare-and-set."""

from collections.abc import Sequence
from typing import Literal, cast

from sqlalchemy import CursorResult, delete, exists, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import (
    INTERRUPTED,
    LIVE,
    Ending,
    Failure,
    Generation,
    Status,
)
from runnel.chat.ports import Checkpoint, StaleFence
from runnel.chat.text import estimate_tokens
from runnel.errors import Code
from runnel.events import FinishReason, Position, Usage
from runnel.store.tables import CheckpointRow, GenerationRow, MessageRow

_LIVE = tuple(status.value for status in LIVE)


async def live_in_session(connection: AsyncConnection, session_id: str) -> str | None:
    """The id of the generation that is being made in a session."""
    return await connection.scalar(
        select(GenerationRow.id).where(
            GenerationRow.session_id == session_id, GenerationRow.status.in_(_LIVE)
        )
    )


async def add(
    connection: AsyncConnection, generation: Generation, owner: str, params: dict[str, object]
) -> None:
    """Inserts a queued generation. Raises IntegrityError if its session has a live one."""
    await connection.execute(
        insert(GenerationRow).values(
            id=generation.id,
            user_id=generation.user_id,
            session_id=generation.session_id,
            message_id=generation.message_id,
            user_message_id=generation.user_message_id,
            model=generation.model,
            provider=generation.provider,
            provider_model=generation.provider_model,
            params=params,
            status=generation.status,
            owner=owner,
            fence=generation.fence,
            epoch=0,
            prompt_tokens=0,
            created_at=generation.created_at,
        )
    )


async def begin_epoch(
    connection: AsyncConnection, generation_id: str, fence: int, prompt_tokens: int
) -> int:
    """Raises StaleFence if the generation has ended or has a newer owner."""
    epoch = await connection.scalar(
        update(GenerationRow)
        .where(
            GenerationRow.id == generation_id,
            GenerationRow.fence == fence,
            GenerationRow.status.in_(_LIVE),
        )
        .values(status=Status.RUNNING, epoch=GenerationRow.epoch + 1, prompt_tokens=prompt_tokens)
        .returning(GenerationRow.epoch)
    )
    if epoch is None:
        raise StaleFence(generation_id)
    return epoch


async def checkpoint(connection: AsyncConnection, checkpoints: Sequence[Checkpoint]) -> None:
    for new in checkpoints:
        await connection.execute(
            insert(CheckpointRow).from_select(
                ["generation_id", "epoch", "last_offset", "text"],
                select(
                    GenerationRow.id,
                    GenerationRow.epoch,
                    literal(new.position.offset),
                    literal(new.text),
                ).where(
                    GenerationRow.id == new.generation_id,
                    GenerationRow.fence == new.fence,
                    GenerationRow.epoch == new.position.epoch,
                    GenerationRow.status == Status.RUNNING,
                    # It may be there already: its first time may have failed after the commit.
                    ~exists().where(
                        CheckpointRow.generation_id == new.generation_id,
                        CheckpointRow.epoch == new.position.epoch,
                        CheckpointRow.last_offset >= new.position.offset,
                    ),
                ),
            )
        )


async def end(connection: AsyncConnection, generation_id: str, fence: int, ending: Ending) -> bool:
    """The one end of a generation: True if this is it, False if there was one before."""
    failure = ending.failure
    result = await connection.execute(
        update(GenerationRow)
        .where(
            GenerationRow.id == generation_id,
            GenerationRow.fence == fence,
            GenerationRow.status.in_(_LIVE),
        )
        .values(
            status=ending.status,
            epoch=ending.position.epoch,
            last_offset=ending.position.offset,
            finish_reason=ending.finish_reason,
            aborted_by=ending.aborted_by,
            error_code=failure and failure.code,
            error_message=failure and failure.message,
            error_retryable=failure and failure.retryable,
            error_retry_after=failure and failure.retry_after,
            prompt_tokens=ending.usage.prompt_tokens,
            completion_tokens=ending.usage.completion_tokens,
            usage_source=ending.usage.source,
            first_token_ms=ending.first_token_ms,
            latency_ms=ending.latency_ms,
        )
    )
    if cast("CursorResult[tuple[()]]", result).rowcount != 1:
        return False
    await connection.execute(
        update(MessageRow)
        .where(
            MessageRow.id
            == select(GenerationRow.message_id)
            .where(GenerationRow.id == generation_id)
            .scalar_subquery()
        )
        .values(content=ending.text)
    )
    await connection.execute(
        delete(CheckpointRow).where(CheckpointRow.generation_id == generation_id)
    )
    return True


async def get(
    connection: AsyncConnection, generation_id: str, user_id: str | None = None
) -> Generation | None:
    """A generation with its text so far; with `user_id`, only if it is that user's."""
    query = (
        select(GenerationRow, MessageRow.content)
        .join(MessageRow, MessageRow.id == GenerationRow.message_id)
        .where(GenerationRow.id == generation_id)
    )
    if user_id is not None:
        query = query.where(GenerationRow.user_id == user_id)
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    if row.status in _LIVE:
        text, position = await _checkpointed(connection, generation_id, row.epoch)
    else:
        text, position = row.content, Position(row.epoch, row.last_offset)
    return Generation(
        id=row.id,
        user_id=row.user_id,
        session_id=row.session_id,
        message_id=row.message_id,
        user_message_id=row.user_message_id,
        model=row.model,
        provider=row.provider,
        provider_model=row.provider_model,
        status=Status(row.status),
        fence=row.fence,
        created_at=row.created_at,
        text=text,
        position=position,
        finish_reason=cast("FinishReason | None", row.finish_reason),
        usage=_usage(row.prompt_tokens, row.completion_tokens, row.usage_source),
        failure=_failure(
            row.error_code, row.error_message, row.error_retry_after, retryable=row.error_retryable
        ),
        aborted_by=row.aborted_by,
        first_token_ms=row.first_token_ms,
        latency_ms=row.latency_ms,
    )


async def interrupt_all_live(connection: AsyncConnection) -> int:
    """Ends every live generation with what was checkpointed of it; how many there were."""
    rows = await connection.execute(
        select(
            GenerationRow.id, GenerationRow.fence, GenerationRow.epoch, GenerationRow.prompt_tokens
        ).where(GenerationRow.status.in_(_LIVE))
    )
    live = rows.all()
    for generation_id, fence, epoch, prompt_tokens in live:
        text, _ = await _checkpointed(connection, generation_id, epoch)
        # Whoever attaches later finds a `reset` (or, before the first epoch, a `start`) at
        # offset 0 and the end at 1: an end that no producer wrote is in an epoch of its own.
        ending = Ending(
            status=Status.INTERRUPTED,
            text=text,
            position=Position(epoch + 1, 1),
            usage=Usage(prompt_tokens, estimate_tokens(text), "estimated"),
            failure=INTERRUPTED,
        )
        await end(connection, generation_id, fence, ending)
    return len(live)


async def _checkpointed(
    connection: AsyncConnection, generation_id: str, epoch: int
) -> tuple[str, Position | None]:
    rows = await connection.execute(
        select(CheckpointRow.text, CheckpointRow.last_offset)
        .where(CheckpointRow.generation_id == generation_id, CheckpointRow.epoch == epoch)
        .order_by(CheckpointRow.last_offset)
    )
    pieces = rows.all()
    if not pieces:
        return "", None
    return "".join(piece.text for piece in pieces), Position(epoch, pieces[-1].last_offset)


def _usage(prompt: int, completion: int | None, source: str | None) -> Usage | None:
    if completion is None or source is None:
        return None
    return Usage(prompt, completion, cast("Literal['provider', 'estimated']", source))


def _failure(
    code: str | None, message: str | None, retry_after: float | None, *, retryable: bool | None
) -> Failure | None:
    if code is None:
        return None
    return Failure(Code(code), message or "", retryable or False, retry_after)
