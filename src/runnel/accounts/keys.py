"""The form of API keys: `rnl_` and 256 random bits. Only the hash of one may be kept."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

PREFIX: Final = "rnl_"
_FORM: Final = re.compile(r"rnl_[A-Za-z0-9_-]{43}")
_SHOWN: Final = 12


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key's whole text, the beginning of it that may be shown later, and what is kept."""

    secret: str = field(repr=False)
    prefix: str
    hash: str


def new_key() -> NewKey:
    secret = PREFIX + secrets.token_urlsafe(32)
    return NewKey(secret, secret[:_SHOWN], _hash(secret))


def hash_of(credential: str) -> str | None:
    """The hash that a key is found by; None for what has not a key's form."""
    return _hash(credential) if _FORM.fullmatch(credential) else None


def _hash(secret: str) -> str:
    # 256 random bits cannot be guessed, so nothing slower than SHA-256 is needed.
    return hashlib.sha256(secret.encode()).hexdigest()
