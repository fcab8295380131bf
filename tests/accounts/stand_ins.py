"""What the tests of accounts put in place of time and of costly hashes."""

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from runnel.accounts.passwords import Passwords

SECRET = "a secret of the tests, long enough to sign"


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
