"""Errors as HTTP problems (RFC 9457), by one table. Never a stack trace."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from slowapi.errors import RateLimitExceeded
from starlette.exceptions import HTTPException
from starlette.responses import Response

from runnel.edge.fields import unknown_field
from runnel.edge.json import JsonResponse
from runnel.edge.openai_problems import openai_problem, speaks_openai, unknown_parameter
from runnel.edge.parts import parts_of
from runnel.edge.paths import generation_path
from runnel.edge.positions import MalformedPositionError
from runnel.errors import Code, RunnelError

#: Code → HTTP status and title.
PROBLEMS: Final[Mapping[str, tuple[int, str]]] = {
    Code.INVALID_REQUEST: (422, "The request is not valid"),
    Code.UNAUTHORIZED: (401, "Not signed in"),
    Code.FORBIDDEN: (403, "Not allowed"),
    Code.NOT_FOUND: (404, "Not found"),
    Code.BUSY: (409, "The session is being answered"),
    Code.IDEMPOTENCY_CONFLICT: (409, "The key belongs to another question"),
    Code.SESSION_CLOSED: (409, "The session is closed"),
    Code.CONFLICT: (409, "Conflict"),
    Code.MESSAGE_TOO_LONG: (413, "The message is too long"),
    Code.PAYLOAD_TOO_LARGE: (413, "The request is too large"),
    Code.RATE_LIMITED: (429, "Too many requests"),
    Code.UNKNOWN_MODEL: (422, "Unknown model"),
    Code.MODEL_UNAVAILABLE: (503, "The model is not available"),
    Code.UPSTREAM_RATE_LIMITED: (429, "The model's provider is overloaded"),
    Code.UPSTREAM_ERROR: (502, "The model's provider failed"),
    Code.UPSTREAM_INCOMPLETE: (502, "The model's provider broke off"),
    Code.UPSTREAM_TIMEOUT: (504, "The model's provider did not answer in time"),
    Code.OVERLOADED: (503, "The server is overloaded"),
    Code.SHUTTING_DOWN: (503, "The server is restarting"),
    Code.STORE_UNAVAILABLE: (503, "The database is not available"),
    Code.STREAM_UNAVAILABLE: (503, "The stream is not available"),
    Code.INTERRUPTED: (503, "The answer was interrupted"),
}
#: What the framework refuses by itself, and what we did not foresee.
_BY_STATUS: Final[Mapping[int, tuple[str, str]]] = {
    422: (Code.INVALID_REQUEST, "The request is not valid"),
    404: (Code.NOT_FOUND, "Not found"),
    405: ("method_not_allowed", "Method not allowed"),
    413: (Code.PAYLOAD_TOO_LARGE, "The request is too large"),
    429: (Code.RATE_LIMITED, "Too many requests"),
}
_RETRY_SECONDS: Final = 1
#: A body of one MiB can have 300,000 faults, which would make an answer of 60 MB.
_MOST_FAULTS: Final = 20


def problem(
    request: Request,
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    members: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One `application/problem+json` answer; under /v1 in the shape that is usual there."""
    parts_of(request).metrics.error(code)
    return _shown(request, status, code, title, detail, members=members, headers=headers)


def refusal(request: Request, code: Code, detail: str) -> Response:
    """The same where the application itself is not, or not any more, to be asked: a 503."""
    status, title = PROBLEMS[code]
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    if speaks_openai(request):
        headers["X-Should-Retry"] = "true"
    return _shown(request, status, code, title, detail, headers=headers)


def _shown(
    request: Request,
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    members: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    if speaks_openai(request):
        return openai_problem(status, code, detail, members or {}, headers)
    body = {
        "type": f"urn:runnel:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request.state.request_id,
        **(members or {}),
    }
    return JsonResponse(
        body, status_code=status, headers=headers, media_type="application/problem+json"
    )


def install(app: FastAPI) -> None:
    """Every error of the app becomes a problem."""
    app.add_exception_handler(RunnelError, _runnel_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(RateLimitExceeded, _rate_limited)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unforeseen)


async def _runnel_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RunnelError)
    status, title = PROBLEMS[error.code]
    if isinstance(error, MalformedPositionError):
        status = 400
    headers: dict[str, str] = {}
    if status == 401:  # noqa: PLR2004 - the status itself says it best
        headers["WWW-Authenticate"] = "Bearer"
    if error.retry_after is not None or status == 503:  # noqa: PLR2004 - same
        headers["Retry-After"] = str(math.ceil(error.retry_after or _RETRY_SECONDS))
    if speaks_openai(request):
        # Its clients ask again by themselves after whatever looks like a server's fault.
        headers["X-Should-Retry"] = "true" if error.retryable else "false"
    members: dict[str, object] = dict(error.facts)
    if error.code is Code.BUSY and "generation_id" in error.facts:
        path = generation_path(request.scope, error.facts["generation_id"])
        members |= {"events_url": f"{path}/events", "abort_url": f"{path}/abort"}
    if error.field:
        members["errors"] = [{"field": error.field, "message": error.message}]
    return problem(
        request, status, error.code, title, error.message, members=members, headers=headers
    )


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    unknown = unknown_parameter if speaks_openai(request) else unknown_field
    faults = [
        {"field": _field(fault["loc"]), "message": _message(fault, unknown)}
        for fault in cast("Sequence[Mapping[str, Any]]", error.errors())[:_MOST_FAULTS]
    ]
    detail = "; ".join(f"{fault['field']}: {fault['message']}" for fault in faults)
    status, title = PROBLEMS[Code.INVALID_REQUEST]
    return problem(request, status, Code.INVALID_REQUEST, title, detail, members={"errors": faults})


def _field(location: Sequence[int | str]) -> str:
    # ("body", "params", "temperature") → params.temperature; a whole body is `body`.
    path = location[1:] if len(location) > 1 and location[0] != "header" else location
    return ".".join(str(part) for part in path)


def _message(fault: Mapping[str, Any], unknown: Callable[[str], str]) -> str:
    if fault["type"] == "extra_forbidden":
        return unknown(_field(fault["loc"]))
    if tuple(fault["loc"]) == ("body",) and fault["type"] != "value_error":
        # No body, another value than an object, or not said to be JSON and so not read.
        return "Send a JSON object with the header `Content-Type: application/json`."
    return str(fault["msg"]).removeprefix("Value error, ")


async def _rate_limited(request: Request, error: Exception) -> Response:
    assert isinstance(error, RateLimitExceeded)
    code = Code.RATE_LIMITED
    status, title = PROBLEMS[code]
    return problem(request, status, code, title, f"At most {error.detail}. Wait, then try again.")


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, RunnelError):  # how FastAPI passes on a fault of the body
        return await _runnel_error(request, error.__cause__)
    # 400 is the framework's word for a form that it cannot read.
    status = 422 if error.status_code == 400 else error.status_code  # noqa: PLR2004 - as said
    code, title = _BY_STATUS.get(status, ("http_error", error.detail))
    return problem(request, status, code, title, error.detail, headers=error.headers)


async def _unforeseen(request: Request, _error: Exception) -> Response:
    # The server logs it: the framework raises it again once this is sent.
    return problem(
        request, 500, "internal", "Internal error", "The server failed; its log says why."
    )
