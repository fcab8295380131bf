"""Errors of everything under /v1, in the shape that OpenAI's clients understand."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from starlette.requests import HTTPConnection
from starlette.responses import Response

from runnel.edge.dialects.openai import error
from runnel.edge.json import JsonResponse
from runnel.errors import Code

_INDEX: Final = re.compile(r"\.(\d+)(?=\.|$)")
#: Our codes' statuses, where this wire has others. What is not valid is 400 here.
_STATUSES: Final[Mapping[str, int]] = {Code.UNKNOWN_MODEL: 404}
_INVALID: Final = 422
#: Our fields, by the names that they have in this wire.
_PARAMS: Final[Mapping[str, str | None]] = {
    "body": None,
    "message": "messages",
    "params.images": "messages",
    "params.json_mode": "response_format",
}
#: What this wire once had, or what we call so, and what to send in its place.
_INSTEAD: Final[Mapping[str, str]] = {
    "function_call": "tool_choice",
    "functions": "tools",
    "json_mode": "response_format",
}


def speaks_openai(connection: HTTPConnection) -> bool:
    """Whether a request is one of this wire, be there such a route or not."""
    scope = connection.scope
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return f"{path}/".startswith("/v1/")


def openai_problem(
    status: int,
    code: str,
    detail: str,
    members: Mapping[str, object],
    headers: Mapping[str, str] | None,
) -> Response:
    """What would be a problem elsewhere; its first fault names the `param`."""
    status = _STATUSES.get(code, 400 if status == _INVALID else status)
    faults = cast("Sequence[Mapping[str, Any]]", members.get("errors", ()))
    param = _param(faults[0]["field"]) if faults else None
    if code == Code.MESSAGE_TOO_LONG:
        param = "messages"
    return JsonResponse(error(status, code, detail, param), status_code=status, headers=headers)


def unknown_parameter(path: str) -> str:
    """What to say of a parameter that is not taken."""
    instead = _INSTEAD.get(path)
    return f"is not supported; send `{instead}`" if instead else "is not supported by this server"


def _param(field: str) -> str | None:
    """Our `messages.0.content` is `messages[0].content` here."""
    return _PARAMS.get(field, _INDEX.sub(r"[\1]", field.removeprefix("params.")))
