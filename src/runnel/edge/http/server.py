"""What tells of the server itself: /healthz, /readyz, /metrics, /models."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from starlette.responses import PlainTextResponse, Response

from runnel.chat.model_ports import ListedModel
from runnel.edge.deps import AppParts
from runnel.edge.http.shapes import (
    HealthShape,
    ModelShape,
    ModelsShape,
    ReadinessShape,
    shaped,
)
from runnel.edge.json import JsonResponse
from runnel.edge.parts import Parts
from runnel.edge.route import PublicRoute, bearer, sign_in
from runnel.errors import Code, RunnelError
from runnel.telemetry.metrics import CONTENT_TYPE

router = APIRouter(route_class=PublicRoute, tags=["server"])
_CHECK_SECONDS = 5.0


# Monitors ask with HEAD as well.
@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", response_class=Response, responses=shaped(HealthShape))
async def healthz() -> Response:
    """The process is alive."""
    shown: HealthShape = {"status": "ok"}
    return JsonResponse(shown)


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_class=Response,
    responses=shaped(ReadinessShape) | shaped(ReadinessShape, 503),
)
async def readyz(parts: AppParts) -> Response:
    """Whether the server can do its work, and each part that it needs for it."""
    states = await asyncio.gather(*(_state(check) for check in parts.checks.values()))
    well = all(state == "ok" for state in states)
    body: ReadinessShape = {
        "status": "ok" if well else "unavailable",
        "components": dict(zip(parts.checks, states, strict=True)),
    }
    return JsonResponse(body, status_code=200 if well else 503)


async def _state(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            await check()
    except (RunnelError, TimeoutError):
        return "unavailable"
    return "ok"


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request, parts: AppParts) -> Response:
    """Prometheus metrics: open on development, else for admins and for `METRICS_TOKEN`."""
    if parts.settings.environment == "production":
        await _admit_to_metrics(request)
    return Response(parts.metrics.exposition(), media_type=CONTENT_TYPE)


async def _admit_to_metrics(request: Request) -> None:
    given = bearer(request)
    token = request.app.state.parts.settings.metrics_token
    if (
        given is not None
        and token is not None
        and secrets.compare_digest(given.encode(), token.get_secret_value().encode())
    ):
        return
    await sign_in(request)
    if request.state.identity.role != "admin":
        raise RunnelError(Code.FORBIDDEN, "Metrics are for admins.")


@router.get("/models", response_class=Response, responses=shaped(ModelsShape))
async def models(parts: AppParts) -> Response:
    """The aliases that can be asked for as `model`."""
    return JsonResponse(models_shown(parts))


def models_shown(parts: Parts) -> ModelsShape:
    listed = [model_shown(model) for model in parts.catalog.listed()]
    return {"default": parts.catalog.default, "models": listed}


def model_shown(model: ListedModel) -> ModelShape:
    return {
        "alias": model.alias,
        "provider": model.provider,
        "model": model.model,
        "available": model.available,
    }
