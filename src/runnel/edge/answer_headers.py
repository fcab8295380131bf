"""Headers that a request earns on its way, whatever its answer becomes: a body, a stream, a fault.

Collected in the request's state; the outermost middleware writes them.
"""

from collections.abc import MutableMapping
from typing import Any, Final, cast

_KEY: Final = "answer_headers"


def add_headers(scope: MutableMapping[str, Any], headers: dict[str, str]) -> None:
    """Gives the answer of this request these headers, over what was given before."""
    collected(scope).update(headers)


def collected(scope: MutableMapping[str, Any]) -> dict[str, str]:
    """What has been given so far."""
    state = cast("dict[str, Any]", scope.setdefault("state", {}))
    return cast("dict[str, str]", state.setdefault(_KEY, {}))
