"""Queries of sessions as people see them: alone, and in pages."""

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Row,
    ScalarSelect,
    Select,
    String,
    bindparam,
    false,
    func,
    select,
    tuple_,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import SessionRef
from runnel.chat.sessions.entities import Session, SessionStatus
from runnel.chat.sessions.ports import Wanted
from runnel.chat.sessions.searching import Query
from runnel.chat.sessions.values import ClientInfo, SessionSettings
from runnel.store import pages, search
from runnel.store.sessions import own
from runnel.store.shown import IS_LIVE
from runnel.store.tables import GenerationRow, MessageRow, SessionRow, UtcDateTime

Shown = Row[SessionRow, int, str]


async def get(
    connection: AsyncConnection, user_id: str, ref: SessionRef, idle_since: datetime
) -> Session | None:
    """A user's own session. It is idle if nothing has happened in it since then."""
    row = (await connection.execute(_LISTED.where(own(user_id, ref)))).first()
    return None if row is None else shown(row, idle_since)


async def page(
    connection: AsyncConnection,
    user_id: str,
    wanted: Wanted,
    cursor: str | None,
    *,
    limit: int,
    idle_since: datetime,
) -> tuple[list[Session], str | None]:
    """Newest activity first. Raises RunnelError `invalid_request` for a cursor that is none."""
    values: dict[str, Any] = {"own_user_id": user_id, "most": limit + 1}
    if wanted.project_id is not None:
        values["own_project_id"] = wanted.project_id
    if wanted.status not in (None, SessionStatus.CLOSED):
        values["idle_since"] = idle_since
    if cursor is not None:
        values["before"], values["before_id"] = pages.parse_moment(cursor)
    query = _page(
        wanted.status, of_project=wanted.project_id is not None, goes_on=cursor is not None
    )
    if wanted.query is not None:
        query = query.where(_found(connection, user_id, wanted.query))
    rows = (await connection.execute(query, values)).all()
    here = rows[:limit]
    following = pages.moment(here[-1].last_activity, here[-1].id) if len(rows) > limit else None
    return [shown(row, idle_since) for row in here], following


@cache
def _page(
    status: SessionStatus | None, *, of_project: bool, goes_on: bool
) -> Select[SessionRow, int, str]:
    """Put together once of each kind: that takes longer than to run it."""
    query = (
        _LISTED.where(SessionRow.user_id == bindparam("own_user_id"), SessionRow.hidden.is_(False))
        .order_by(SessionRow.last_activity.desc(), SessionRow.id.desc())
        .limit(bindparam("most", type_=Integer()))
    )
    if of_project:
        query = query.where(SessionRow.project_id == bindparam("own_project_id"))
    if status is not None:
        query = query.where(*_having(status))
    if goes_on:
        before = (bindparam("before", type_=UtcDateTime()), bindparam("before_id", type_=String()))
        query = query.where(tuple_(SessionRow.last_activity, SessionRow.id) < tuple_(*before))
    return query


def _message_count() -> ColumnElement[int]:
    return (
        select(func.count())
        .select_from(MessageRow)
        .where(MessageRow.session_id == SessionRow.id)
        .correlate(SessionRow)
        .scalar_subquery()
    )


def _running() -> ScalarSelect[str]:
    return (
        select(GenerationRow.id)
        .where(GenerationRow.session_id == SessionRow.id, IS_LIVE)
        .correlate(SessionRow)
        .scalar_subquery()
    )


_LISTED: Final = select(SessionRow, _message_count().label("messages"), _running().label("running"))


def _found(connection: AsyncConnection, user_id: str, query: Query) -> ColumnElement[bool]:
    if not query.terms:
        return false()
    return SessionRow.id.in_(search.sessions_with(connection, user_id, query))


def _having(status: SessionStatus) -> Sequence[ColumnElement[bool]]:
    if status is SessionStatus.CLOSED:
        return [SessionRow.closed_at.is_not(None)]
    idle_since = bindparam("idle_since", type_=UtcDateTime())
    active = (SessionRow.last_activity >= idle_since) | _running().is_not(None)
    return [SessionRow.closed_at.is_(None), active if status is SessionStatus.ACTIVE else ~active]


def shown(row: Shown, idle_since: datetime) -> Session:
    return Session(
        id=row.id,
        user_id=row.user_id,
        name=row.name,
        project_id=row.project_id,
        title=row.title,
        status=_status(row, idle_since),
        started_at=row.started_at,
        last_activity=row.last_activity,
        message_count=row.messages,
        running_generation_id=row.running,
        leaf_id=row.leaf_id,
        client=ClientInfo(row.user_agent, row.ip_address, row.client_version),
        settings=SessionSettings(
            row.model_preference, row.language, row.stream_responses, row.system_prompt
        ),
    )


def _status(row: Shown, idle_since: datetime) -> SessionStatus:
    if row.closed_at is not None:
        return SessionStatus.CLOSED
    if row.running is not None or row.last_activity >= idle_since:
        return SessionStatus.ACTIVE
    return SessionStatus.IDLE
