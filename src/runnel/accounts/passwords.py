"""Passwords: Argon2id, hashed in threads of their own, few at a time.

No password may reach a log or an error.
"""

import asyncio
import secrets
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, Protocol, TypeVar, cast

from runnel.errors import Code, RunnelError

with warnings.catch_warnings():
    # passlib tries `crypt` when it is imported, and argon2.__version__ when it loads its back end.
    warnings.simplefilter("ignore", DeprecationWarning)
    from passlib.hash import argon2

    _argon2 = cast("Any", argon2)  # its types say nothing
    _argon2.set_backend("argon2_cffi")

#: What an account has instead of a hash if nobody shall log in to it.
UNUSABLE: Final = "!"
LEAST_CHARACTERS: Final = 8
MOST_CHARACTERS: Final = 1024
#: Two seconds of work; whoever came after would wait longer than people do.
MOST_WAITING: Final = 200
_T = TypeVar("_T")
_COMMONEST: Final = frozenset(
    {
        "00000000", "11111111", "12121212", "12341234", "12345678", "123456789", "1234567890",
        "123123123", "147258369", "1q2w3e4r", "1qaz2wsx", "87654321", "987654321", "aa123456",
        "abc12345", "abcd1234", "administrator", "admin123", "adminadmin", "asdfghjkl", "baseball",
        "changeme", "computer", "dragon123", "football", "iloveyou", "letmein1", "letmein123",
        "michelle", "p@ssw0rd", "passw0rd", "password", "password1", "password12", "password123",
        "princess", "q1w2e3r4", "qwer1234", "qwerty12", "qwerty123", "qwertyui", "qwertyuiop",
        "starwars", "sunshine", "superman", "testtest", "trustno1", "welcome1", "welcome123",
        "whatever",
    }
)  # fmt: skip


class _Hasher(Protocol):
    """The part of passlib's handlers that is used here."""

    def hash(self, secret: bytes) -> str: ...
    def verify(self, secret: bytes, hash: str) -> bool: ...  # noqa: A002 - passlib's name


def random_password() -> str:
    """A password of 144 random bits."""
    return secrets.token_urlsafe(18)


def weakness(username: str, password: str) -> str | None:
    """Why a password is not good enough, as the end of a sentence; None if it is."""
    if len(password) < LEAST_CHARACTERS:
        return f"has fewer than {LEAST_CHARACTERS} characters"
    if len(password) > MOST_CHARACTERS:
        return f"has more than {MOST_CHARACTERS} characters"
    if password.lower() == username.lower():
        return "is the username"
    if password.lower() in _COMMONEST:
        return "is one of the commonest there are"
    return None


class Passwords:
    """Hashes and verifies, at most `concurrent` at a time; each holds `memory_kib` meanwhile.

    Raises RunnelError `overloaded` where MOST_WAITING wait already.
    """

    def __init__(self, *, memory_kib: int = 19_456, passes: int = 2, concurrent: int = 2) -> None:
        self._hasher = cast(
            "_Hasher",
            _argon2.using(type="ID", memory_cost=memory_kib, time_cost=passes, parallelism=1),
        )
        self._threads = ThreadPoolExecutor(concurrent, thread_name_prefix="passwords")
        self._waiting = 0
        # What nobody's password is compared with, so that nobody costs as much as somebody.
        self._dummy = self._hasher.hash(secrets.token_bytes(16))

    async def hash(self, password: str) -> str:
        """Raises RunnelError `invalid_request` for more than MOST_CHARACTERS."""
        if len(password) > MOST_CHARACTERS:
            raise RunnelError(
                Code.INVALID_REQUEST,
                f"The password has more than {MOST_CHARACTERS} characters.",
                field="password",
            )
        return await self._work(self._hasher.hash, _bytes(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether it is the password; without a usable hash the same work, and False."""
        if len(password) > MOST_CHARACTERS:
            return False
        usable = password_hash if password_hash and password_hash != UNUSABLE else None
        matches = await self._work(self._hasher.verify, _bytes(password), usable or self._dummy)
        return matches and usable is not None

    async def _work(self, function: Callable[..., _T], *arguments: object) -> _T:
        if self._waiting >= MOST_WAITING:
            raise RunnelError(
                Code.OVERLOADED, "Too many are signing in at once. Try again.", retry_after=1
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, partial(function, *arguments))
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Lets the threads go; what is being hashed is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _bytes(password: str) -> bytes:
    # A lone surrogate, as JSON's \ud800 or a terminal's stray byte, is no reason to fail.
    return password.encode("utf-8", "surrogatepass")
