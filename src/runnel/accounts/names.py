"""Which names an account may have. Names differ by more than case."""

import re
from typing import Final

#: The account of all who come without credentials. Nobody can log in to it.
GUEST: Final = "guest"
_NAME: Final = re.compile(r"[A-Za-z0-9._@+-]{1,64}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RESERVED: Final = frozenset({"me", GUEST})


def may_exist(username: str) -> bool:
    """False for text that no account's name can be; such text never reaches the database."""
    return _NAME.fullmatch(username) is not None


def is_guest(username: str) -> bool:
    return username.lower() == GUEST


def unfitness(username: str) -> str | None:
    """Why no new account may have this name, as the end of a sentence; None if it may."""
    if not may_exist(username):
        return "has to be 1 to 64 of the characters A-Z a-z 0-9 . _ @ + -"
    if username.lower() in _RESERVED:
        return "is reserved"
    if _UUID.fullmatch(username):
        return "has the shape of an id"
    return None
