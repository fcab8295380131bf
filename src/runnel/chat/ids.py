"""Ids as clients send them: what cannot be one is unknown before the store is asked."""

import re
from typing import Final

_ID: Final = re.compile(r"[0-9a-f-]{36}")


def may_be_id(text: str) -> bool:
    """Databases differ in what else they take for a text."""
    return _ID.fullmatch(text) is not None
