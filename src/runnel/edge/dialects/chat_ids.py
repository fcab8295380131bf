"""Sessions as the chat vocabulary names them, over HTTP and WebSockets alike."""

import re
from typing import Final

#: How an integer is written.
_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,19}")
#: Those that a frame can hold. What is outside comes in as another number, and never goes out.
_INTEGERS: Final = range(-(2**63), 2**64)


def chat_id(session_id: str, name: str | None) -> str | int:
    """A session's name if it has one, an integer as a number; else its id."""
    if name is None:
        return session_id
    return int(name) if _INTEGER.fullmatch(name) and int(name) in _INTEGERS else name
