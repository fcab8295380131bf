"""How what instances say to each other is written: JSON, its kind by the name of its dataclass.

Whoever does not know a kind, or misses a member of it, is of another version and passes it over.
What is added to `Notice` or to `Order` is known here.
"""

from typing import Any, Final, TypeAlias, get_args

import orjson
from pydantic import TypeAdapter, ValidationError

from runnel.chat.notices import Notice
from runnel.chat.orders import Order

Said: TypeAlias = Notice | Order
#: pydantic reads what the types of the members are; members that it does not know it passes over.
_KINDS: Final[dict[str, TypeAdapter[Said]]] = {
    kind.__name__: TypeAdapter[Any](kind) for kind in (*get_args(Notice), *get_args(Order))
}


def written(said: Said, by: str) -> bytes:
    """`by` is the instance that says it."""
    return orjson.dumps({"by": by, "kind": type(said).__name__, "said": said})


def read(message: bytes, *, but_of: str) -> Said | None:
    """None for what the instance `but_of` has said itself, and for what cannot be read."""
    try:
        match orjson.loads(message):
            case {"by": str(by), "kind": str(kind), "said": said} if by != but_of:
                known = _KINDS.get(kind)
                return None if known is None else known.validate_python(said)
            case _:
                return None
    except (orjson.JSONDecodeError, ValidationError):
        return None
