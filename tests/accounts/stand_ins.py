"""What the tests of accounts share: stand-ins for time and costly hashes, and what is asked over and over."""

import threading
from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from runnel.accounts.entities import Identity
from runnel.accounts.passwords import Passwords
from runnel.accounts.service import Accounts
from runnel.accounts.tokens import refused
from runnel.errors import Code, RunnelError
from runnel.store.engine import Database

SECRET = "a secret of the tests, long enough to sign"
PASSWORD = "correct horse battery"


@dataclass
class StandingClock:
    now: datetime = field(default=datetime(2031, 5, 6, 7, 8, 9, 123_456, tzinfo=UTC))

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class CountingPasswords(Passwords):
    """Cheap ones that note what the hasher did, and on which threads."""

    def __init__(self) -> None:
        super().__init__(memory_kib=16, passes=1)
        self.threads: list[threading.Thread] = []
        self.verified: list[str] = []
        counted, hasher = self, self._hasher

        class Counting:
            def hash(self, secret: bytes) -> str:
                counted.threads.append(threading.current_thread())
                return hasher.hash(secret)

            def verify(self, secret: bytes, hash: str) -> bool:  # noqa: A002 - passlib's name
                counted.threads.append(threading.current_thread())
                counted.verified.append(hash)
                return hasher.verify(secret, hash)

        self._hasher = Counting()

    @property
    def worked(self) -> int:
        """How many times the hasher did."""
        return len(self.threads)


async def fails(work: Awaitable[object], code: Code, field: str | None = None) -> str:
    """Asserts that it fails so; the message."""
    with pytest.raises(RunnelError) as caught:
        await work
    assert (caught.value.code, caught.value.field) == (code, field)
    return caught.value.message


async def is_refused(accounts: Accounts, credential: str) -> bool:
    message = await fails(accounts.authenticate(credential), Code.UNAUTHORIZED)
    return message == refused().message


async def signed_in(accounts: Accounts, username: str = "Ada") -> Identity:
    pair = await accounts.login(username, PASSWORD)
    return await accounts.authenticate(pair.access_token)


async def count(database: Database, table: type[object]) -> int:
    async with database.read() as connection:
        return (await connection.scalar(select(func.count()).select_from(table))) or 0
