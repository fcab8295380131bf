"""What writes generations and their checkpoints. Ends are decided here, by compare-and-set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Interval,
    String,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import (
    INTERRUPTED,
    Ask,
    AskKey,
    Context,
    Ending,
    Fitted,
    Generation,
    ModelName,
    Params,
    Status,
)
from runnel.chat.ports import Checkpoint, Epoch, StaleFence
from runnel.chat.text import estimate_tokens
from runnel.events import Position, Usage
from runnel.store.engine import into
from runnel.store.ids import now
from runnel.store.shown import IS_LIVE, checkpointed, of_row
from runnel.store.statements import Statement
from runnel.store.tables import CheckpointRow, GenerationRow, MessageRow, SessionRow

#: How long a client's key joins what was asked with it; afterwards it is free again.
KEY_LIFE: Final = timedelta(hours=24)


_ADD: Final = Statement(insert(GenerationRow))
_ADD_LEASED: Final = Statement(
    insert(GenerationRow).values(
        lease_until=func.clock_timestamp() + bindparam("lease", type_=Interval)
    )
)
_OWN_LIVE: Final = (
    GenerationRow.id == bindparam("generation_id"),
    GenerationRow.fence == bindparam("own_fence"),
    IS_LIVE,
)
_BEGIN_EPOCH: Final = Statement(
    update(GenerationRow)
    .where(*_OWN_LIVE)
    .values(status=Status.RUNNING, epoch=GenerationRow.epoch + 1)
    .returning(GenerationRow.epoch, GenerationRow.abort_requested_at, GenerationRow.aborted_by)
)
_OF_GENERATION: Final = (
    select(GenerationRow.session_id)
    .where(GenerationRow.id == bindparam("generation_id"))
    .scalar_subquery()
)
_END_SESSION: Final = Statement(
    update(SessionRow)
    .where(SessionRow.id == _OF_GENERATION)
    .returning(SessionRow.name, SessionRow.stream_responses, SessionRow.hidden)
)
_END: Final = Statement(
    update(GenerationRow)
    .where(*_OWN_LIVE)
    .values(
        {
            name: func.coalesce(
                bindparam(f"answered_by_{name}", type_=String()), getattr(GenerationRow, name)
            )
            for name in ("model", "provider", "provider_model")
        }
    )
    .returning(*GenerationRow.__table__.c)
)
_END_MESSAGE: Final = Statement(update(MessageRow).where(MessageRow.id == bindparam("message_id")))
_END_CHECKPOINTS: Final = Statement(
    delete(CheckpointRow).where(CheckpointRow.generation_id == bindparam("ended_id"))
)


async def add(
    connection: AsyncConnection,
    generation: Generation,
    ask: Ask,
    owner: str,
    lease_seconds: float | None,
    *,
    prompt: Fitted | None,
) -> int:
    """Inserts a generation, with a lease if there are other instances: queued, or in its first epoch
    if its prompt is known. The epoch.

    Raises IntegrityError if its session has a live one, or its key is in use.
    """
    begun = prompt is not None
    key = ask.key
    if key is not None:
        await _free_old_key(connection, generation.user_id, key, generation.created_at)
    values: dict[str, Any] = {
        "id": generation.id,
        "user_id": generation.user_id,
        "session_id": generation.session_id,
        "message_id": generation.message_id,
        "user_message_id": generation.user_message_id,
        "model": generation.model,
        "provider": generation.provider,
        "provider_model": generation.provider_model,
        "params": {} if ask.stateless else _members(ask.params),
        "needs_reader": ask.needs_reader,
        "ask_key": key and key.text,
        "ask_fingerprint": key and key.fingerprint,
        "status": Status.RUNNING if begun else generation.status,
        "owner": owner,
        "fence": generation.fence,
        "epoch": int(begun),
        "created_at": generation.created_at,
        **_prompt(prompt or Fitted(0)),
    }
    if lease_seconds is None:
        await _ADD.run(connection, values)
    else:
        lease = timedelta(seconds=lease_seconds)
        await _ADD_LEASED.run(connection, values | {"lease": lease})
    return int(begun)


async def _free_old_key(
    connection: AsyncConnection, user_id: str, key: AskKey, moment: datetime
) -> None:
    await connection.execute(
        update(GenerationRow)
        .where(
            GenerationRow.user_id == user_id,
            GenerationRow.ask_key == key.text,
            GenerationRow.created_at <= moment - KEY_LIFE,
        )
        .values(ask_key=None, ask_fingerprint=None)
    )


async def begin_epoch(
    connection: AsyncConnection, generation_id: str, fence: int, prompt: Fitted
) -> Epoch:
    """Raises StaleFence if the generation has ended or has a newer owner."""
    which = {"generation_id": generation_id, "own_fence": fence}
    row = await _BEGIN_EPOCH.first(connection, which | _prompt(prompt))
    if row is None:
        raise StaleFence(generation_id)
    return Epoch(row.epoch, None if row.abort_requested_at is None else row.aborted_by or "user")


async def name_model(
    connection: AsyncConnection,
    generation_id: str,
    fence: int,
    model: ModelName,
    prompt: Fitted,
) -> None:
    await connection.execute(
        update(GenerationRow)
        .where(
            GenerationRow.id == generation_id,
            GenerationRow.fence == fence,
            IS_LIVE,
        )
        .values(**_prompt(prompt), **_names(model))
    )


async def request_abort(connection: AsyncConnection, by: str, *which: ColumnElement[bool]) -> None:
    """The first request counts; on what has ended none does."""
    await connection.execute(
        update(GenerationRow)
        .where(*which, IS_LIVE, GenerationRow.abort_requested_at.is_(None))
        .values(abort_requested_at=now(), aborted_by=by)
    )


async def live(connection: AsyncConnection, *which: ColumnElement[bool]) -> Sequence[str]:
    return (await connection.scalars(select(GenerationRow.id).where(*which, IS_LIVE))).all()


async def keep(connection: AsyncConnection, generation_id: str) -> None:
    """It needs no reader any more."""
    await connection.execute(
        update(GenerationRow)
        .where(GenerationRow.id == generation_id, GenerationRow.needs_reader.is_(True), IS_LIVE)
        .values(needs_reader=False)
    )


@cache
def _checkpointing(dialect: str) -> Statement:
    last_offset = bindparam("offset", type_=Integer())
    kept = (
        select(GenerationRow.id, GenerationRow.epoch, last_offset, bindparam("said", type_=Text()))
        # Locked: of one that ends meanwhile no checkpoint is left. Not shared: two that want to
        # write to the row then would wait for each other.
        .with_for_update(key_share=True)
        .where(
            GenerationRow.id == bindparam("kept_id"),
            GenerationRow.fence == bindparam("own_fence"),
            GenerationRow.epoch == bindparam("own_epoch"),
            GenerationRow.status == Status.RUNNING,
            # It may be there already: its first time may have failed after the commit.
            ~exists().where(
                CheckpointRow.generation_id == bindparam("kept_id"),
                CheckpointRow.epoch == bindparam("own_epoch"),
                CheckpointRow.last_offset >= last_offset,
            ),
        )
    )
    columns = ["generation_id", "epoch", "last_offset", "text"]
    # The same words may just be on their way: who hands an answer back saves what a round does.
    insert = into(dialect, CheckpointRow)
    return Statement(insert.from_select(columns, kept).on_conflict_do_nothing())


async def checkpoint(connection: AsyncConnection, checkpoints: Sequence[Checkpoint]) -> None:
    # In the order of their ids, as who renews their leases goes: in another they could deadlock.
    await _checkpointing(connection.dialect.name).run(
        connection,
        *(
            {
                "kept_id": new.generation_id,
                "own_fence": new.fence,
                "own_epoch": new.position.epoch,
                "offset": new.position.offset,
                "said": new.text,
            }
            for new in sorted(checkpoints, key=lambda each: each.generation_id)
        ),
    )


async def end(
    connection: AsyncConnection, generation_id: str, fence: int, ending: Ending
) -> tuple[Generation, bool] | None:
    """The one end of a generation: as it is then, and whether its session is hidden; None if there
    was one before, or it is gone.
    """
    failure, model = ending.failure, ending.answered_by
    # The session before its answers, as who purges it goes: in another order they could deadlock.
    session = await _END_SESSION.first(
        connection, {"generation_id": generation_id, "last_activity": now()}
    )
    row = await _END.first(
        connection,
        {
            "generation_id": generation_id,
            "own_fence": fence,
            "status": ending.status,
            "epoch": ending.position.epoch,
            "last_offset": ending.position.offset,
            "finish_reason": ending.finish_reason,
            "aborted_by": ending.aborted_by,
            "error_code": failure and failure.code,
            "error_message": failure and failure.message,
            "error_retryable": failure and failure.retryable,
            "error_retry_after": failure and failure.retry_after,
            "prompt_tokens": ending.usage.prompt_tokens,
            "completion_tokens": ending.usage.completion_tokens,
            "usage_source": ending.usage.source,
            "cost": ending.usage.cost,
            "answered_by_model": model and model.alias,
            "answered_by_provider": model and model.provider,
            "answered_by_provider_model": model and model.provider_model,
            "first_token_ms": ending.first_token_ms,
            "latency_ms": ending.latency_ms,
            "agent": ending.agent,
        },
    )
    if session is None or row is None:
        return None
    await _END_MESSAGE.run(connection, {"message_id": row.message_id, "content": ending.text})
    await _END_CHECKPOINTS.run(connection, {"ended_id": generation_id})
    generation = of_row(
        row,
        session.name,
        stream_responses=session.stream_responses,
        text=ending.text,
        position=ending.position,
    )
    return generation, session.hidden


def _prompt(prompt: Fitted) -> dict[str, Any]:
    context = None if prompt.context is None else _members(prompt.context)
    return {"prompt_tokens": prompt.tokens, "context": context}


def _members(values: Params | Context) -> dict[str, Any]:
    """As `asdict` gives them, which copies all that is in them."""
    return {name: getattr(values, name) for name in values.__slots__}


def _names(model: ModelName | None) -> dict[str, str]:
    if model is None:
        return {}
    return {
        "model": model.alias,
        "provider": model.provider,
        "provider_model": model.provider_model,
    }


@dataclass(frozen=True, slots=True)
class Left:
    """What nobody makes any more, and how it is to end."""

    id: str
    fence: int
    ending: Ending


async def left_live(
    connection: AsyncConnection, priced: Callable[[str, Usage], Usage]
) -> list[Left]:
    """Every live generation ends with what was checkpointed of it.

    One that was to be aborted is aborted: that it was not yet is no reason to ask it again.
    """
    rows = await connection.execute(
        select(
            GenerationRow.id,
            GenerationRow.fence,
            GenerationRow.model,
            GenerationRow.epoch,
            GenerationRow.prompt_tokens,
            GenerationRow.abort_requested_at,
            GenerationRow.aborted_by,
        ).where(IS_LIVE)
    )
    left: list[Left] = []
    for row in rows.all():
        text, _ = await checkpointed(connection, row.id, row.epoch)
        aborted = row.abort_requested_at is not None
        used = Usage(row.prompt_tokens, estimate_tokens(text), "estimated")
        # Whoever attaches later finds a `reset` (or, before the first epoch, a `start`) at
        # offset 0 and the end at 1: an end that no producer wrote is in an epoch of its own.
        ending = Ending(
            status=Status.ABORTED if aborted else Status.INTERRUPTED,
            text=text,
            position=Position(row.epoch + 1, 1),
            usage=priced(row.model, used),
            failure=None if aborted else INTERRUPTED,
            aborted_by=(row.aborted_by or "user") if aborted else None,
        )
        left.append(Left(row.id, row.fence, ending))
    return left
