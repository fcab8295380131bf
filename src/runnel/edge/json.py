"""JSON over HTTP: answers by orjson; bodies parsed with bounds and cleaned of lone surrogates."""

import json
from collections.abc import Iterable
from typing import Any, Final, cast

import orjson
from starlette.responses import Response
from typing_extensions import override

from runnel.chat.text import clean
from runnel.errors import Code, RunnelError

MOST_FIELDS: Final = 512
_OPENING: Final = (b"[", b"{")


class JsonResponse(Response):
    """JSON with a line break at its end, so that a terminal's prompt stays where it belongs."""

    media_type = "application/json"

    @override
    def render(self, content: object) -> bytes:
        return orjson.dumps(content, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)


def parse_json(body: bytes, *, max_depth: int) -> dict[str, object]:
    """The object of a body.

    Raises RunnelError `invalid_request` for what is none, is too deep, or has more fields than
    any request: to say of 100,000 unknown fields what is wrong with each takes a second.
    """
    try:
        value = _loads(body)
    except (ValueError, RecursionError):
        raise RunnelError(
            Code.INVALID_REQUEST, "The body is no valid JSON in UTF-8.", field="body"
        ) from None
    # Counting first: most bodies have fewer brackets than the bound and need no walk.
    if sum(body.count(bracket) for bracket in _OPENING) > max_depth and _too_deep(value, max_depth):
        raise RunnelError(
            Code.INVALID_REQUEST, f"The body is nested deeper than {max_depth}.", field="body"
        )
    if not isinstance(value, dict):
        raise RunnelError(
            Code.INVALID_REQUEST,
            "Send a JSON object with the header `Content-Type: application/json`.",
            field="body",
        )
    body_object = cast("dict[str, object]", value)
    for object_ in (body_object, *body_object.values()):
        if isinstance(object_, dict) and len(cast("dict[str, object]", object_)) > MOST_FIELDS:
            raise RunnelError(
                Code.INVALID_REQUEST,
                f"An object of the body has over {MOST_FIELDS} fields.",
                field="body",
            )
    return body_object


def _loads(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        # orjson refuses lone surrogates; they are legal JSON, and become U+FFFD.
        return _cleaned(json.loads(body, parse_constant=_refuse))


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case list():
            return [_cleaned(item) for item in cast("list[Any]", value)]
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {clean(key): _cleaned(item) for key, item in items}
        case _:
            return value


def _too_deep(value: object, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth + 1):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(value: object) -> Iterable[object]:
    match value:
        case list():
            return cast("list[object]", value)
        case dict():
            return cast("dict[str, object]", value).values()
        case _:
            return ()
