"""`/api/admin`: for whoever runs the server."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from runnel.chat.overviews import ModelEnds
from runnel.chat.reports import Ends
from runnel.edge.deps import SIGNED_IN, AppParts
from runnel.edge.http.admin_shapes import (
    AliasesShape,
    AliasShape,
    ConnectionsShape,
    EndsShape,
    ModelEndsShape,
    ReloadShape,
    SentShape,
    StatsShape,
)
from runnel.edge.http.server import model_shown, models_shown
from runnel.edge.http.shapes import shaped
from runnel.edge.json import JsonResponse
from runnel.edge.route import AdminRoute
from runnel.errors import Code, RunnelError, StartupError
from runnel.telemetry.traffic import Sent

#: How far back ends are counted, and how many sessions and users are named.
_ENDS_OF: Final = timedelta(hours=24)
_MOST: Final = 50
_MOST_CONNECTIONS: Final = 1000

router = APIRouter(
    prefix="/api/admin", route_class=AdminRoute, tags=["admin"], dependencies=[*SIGNED_IN]
)


@router.get("/models", response_class=Response, responses=shaped(AliasesShape))
async def models(parts: AppParts) -> Response:
    """The aliases: whether they can be asked, and how the answers of the last 24 hours ended."""
    ends = await parts.overviews.models(datetime.now(UTC) - _ENDS_OF)
    by_model = {each.model: each for each in ends}
    listed: list[AliasShape] = [
        {
            **model_shown(state.listed),
            "why_not": state.why_not,
            "fallbacks": [*state.fallbacks],
            "restarts": state.restarts,
            "last_24_hours": _model_ends(by_model.get(state.listed.alias)),
        }
        for state in parts.catalog.states()
    ]
    shown: AliasesShape = {
        "default": parts.catalog.default,
        "models": listed,
        "next_cursor": None,
    }
    return JsonResponse(shown)


@router.post("/models/reload", response_class=Response, responses=shaped(ReloadShape))
async def reload_models(parts: AppParts) -> Response:
    """Read models.json anew; a bad file is refused, and everything stays as it was."""
    try:
        faults = await parts.reload_models()
    except StartupError as error:
        detail = "; ".join(str(error).splitlines())
        raise RunnelError(Code.INVALID_REQUEST, detail, field="models.json") from None
    shown: ReloadShape = {**models_shown(parts), "faults": [*faults]}
    return JsonResponse(shown)


@router.get("/stats", response_class=Response, responses=shaped(StatsShape))
async def stats(parts: AppParts) -> Response:
    """Which sessions fail, over the last 24 hours, and to whom this instance sends how much."""
    since = datetime.now(UTC) - _ENDS_OF
    sent = parts.traffic.users(_MOST)
    failing = await parts.reports.failing_sessions(since, _MOST)
    ends = await parts.reports.ends(since)
    named = {user_id for user_id, _ in sent} | {session.user_id for session in failing}
    names = await parts.reports.usernames(named)
    shown: StatsShape = {
        "started_at": parts.started_at,
        "ends_since": since,
        "sessions": [
            {
                "session_id": session.session_id,
                "user_id": session.user_id,
                "username": names.get(session.user_id),
                **_ends(session.ends),
            }
            for session in failing
        ],
        "users": [
            {"user_id": user_id, "username": names.get(user_id), **_sent(of_user)}
            for user_id, of_user in sent
        ],
        "total": {**_ends(ends), **_sent(parts.traffic.total())},
    }
    return JsonResponse(shown)


@router.get("/connections", response_class=Response, responses=shaped(ConnectionsShape))
async def connections(
    parts: AppParts,
    limit: Annotated[int, Query(ge=1, le=_MOST_CONNECTIONS)] = 100,
    cursor: str | None = None,
) -> Response:
    """Who is connected by WebSocket, the longest first."""
    page = await parts.connections.page(cursor, limit + 1)
    shown: ConnectionsShape = {
        "connections": [
            {
                "connection_id": each.id,
                "user_id": each.user_id,
                "username": each.username,
                "channel": each.channel,
                "session_id": each.session_id,
                "address": each.address,
                "user_agent": each.user_agent,
                "connected_at": each.connected_at,
            }
            for each in page[:limit]
        ],
        "next_cursor": page[limit - 1].id if len(page) > limit else None,
    }
    return JsonResponse(shown)


def _model_ends(ends: ModelEnds | None) -> ModelEndsShape:
    return {
        "generations": ends.generations if ends else 0,
        "failed": ends.failed if ends else 0,
        "errors": {**ends.errors} if ends else {},
        "first_token_ms_p50": ends and ends.first_token_ms_p50,
        "first_token_ms_p95": ends and ends.first_token_ms_p95,
    }


def _ends(ends: Ends) -> EndsShape:
    rate = ends.failed / ends.generations if ends.generations else 0.0
    return {"generations": ends.generations, "failed": ends.failed, "error_rate": round(rate, 4)}


def _sent(sent: Sent) -> SentShape:
    return {"bytes_last_minute": sent.last_minute, "bytes_total": sent.ever}
