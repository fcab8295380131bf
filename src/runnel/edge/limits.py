"""slowapi as the HTTP face of the limits; the counters are moving windows that every door shares.

slowapi's own hit is synchronous and knows no WebSockets, so it is not used: `Windows` counts.
"""

import math
import time
import warnings
from dataclasses import dataclass
from typing import Final, Protocol

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage
from limits.aio.storage.memory import Entry
from slowapi import Limiter as SlowapiLimiter
from slowapi.errors import RateLimitExceeded
from slowapi.wrappers import Limit
from starlette.requests import HTTPConnection, Request
from typing_extensions import override

from runnel.edge.answer_headers import add_headers
from runnel.errors import Code, RunnelError

_SWEEP_EVERY_HITS: Final = 4096
#: Beyond so many the window that was hit longest ago goes.
_MOST_WINDOWS: Final = 100_000
#: The scope in which questions of all doors are counted.
MESSAGES: Final = "messages"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where somebody stands in a window. `reset_at`: when the next place frees, epoch seconds."""

    limit: int
    remaining: int
    reset_at: float

    @property
    def reset_in(self) -> int:
        """Whole seconds until the next place frees; 0 while none is taken."""
        if self.remaining == self.limit:
            return 0
        return max(1, math.ceil(self.reset_at - time.time()))


class WindowMemory(MemoryStorage):
    """limits' memory storage without its clean-up task at every hit.

    That task visits every key through a thread: 2.4 ms of CPU a hit with 10,000 users. Here a
    hit touches its own key, and every few thousand hits the keys that have run out go.
    """

    def __init__(self) -> None:
        super().__init__()
        self._hits = 0

    @override
    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        self._sweep()
        now = time.time()
        # Whoever hits is behind the others then, so that the first is the one to go.
        entries = self.events.pop(key, [])
        while entries and entries[-1].atime < now - expiry:
            entries.pop()
        if entries:
            self.events[key] = entries
        if amount > limit:
            return False
        if len(entries) > limit - amount:
            return False
        if not entries and len(self.events) >= _MOST_WINDOWS:
            del self.events[next(iter(self.events))]
        # Into the same list: to copy one of thousands takes longer than all else here.
        entries[:0] = [Entry(expiry)] * amount
        self.events[key] = entries
        return True

    async def hit(self, key: str, limit: int, expiry: int) -> tuple[bool, float, int]:
        taken = await self.acquire_entry(key, limit, expiry)
        return taken, *await self.get_moving_window(key, limit, expiry)

    def _sweep(self) -> None:
        self._hits += 1
        if self._hits % _SWEEP_EVERY_HITS:
            return
        now = time.time()
        for key in [key for key, entries in self.events.items() if entries[0].expiry < now]:
            del self.events[key]


class WindowStorage(Protocol):
    """Where the windows are: a storage of limits' that takes a place and shows the window at once."""

    async def hit(self, key: str, limit: int, expiry: int) -> tuple[bool, float, int]:
        """Takes a place in a window if there is one; whether there was, and then as below."""
        ...

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """When the first of the places was taken that are, and how many are."""
        ...


class Windows:
    """The counters: moving windows by what is counted and for whom."""

    def __init__(self, storage: WindowStorage) -> None:
        self.storage = storage

    async def hit(self, limit: RateLimitItem, *key: str) -> tuple[bool, Standing]:
        """Takes a place if there is one; whether there was, and how it stands then."""
        expiry = limit.get_expiry()
        taken, since, count = await self.storage.hit(limit.key_for(*key), limit.amount, expiry)
        return taken, _standing(limit, since, count)

    async def standing(self, limit: RateLimitItem, *key: str) -> Standing:
        return _standing(
            limit,
            *await self.storage.get_moving_window(
                limit.key_for(*key), limit.amount, limit.get_expiry()
            ),
        )


def _standing(limit: RateLimitItem, since: float, count: int) -> Standing:
    return Standing(limit.amount, max(0, limit.amount - count), since + limit.get_expiry())


def caller_key(request: HTTPConnection) -> str:
    """Whose budget a request or a socket uses: the signed-in user's; the address's for whoever is nobody."""
    identity = getattr(request.state, "identity", None)
    if identity is None or identity.guest:
        return f"address:{request.client.host if request.client else 'unknown'}"
    return f"user:{identity.user_id}"


class Limiter(SlowapiLimiter):
    """slowapi's limiter, counting in shared windows without blocking the loop."""

    def __init__(self, windows: Windows, *, messages_per_minute: int) -> None:
        with warnings.catch_warnings():
            # A file that does not exist keeps slowapi from reading .env by itself: settings are
            # read in one place. It warns of that.
            warnings.simplefilter("ignore")
            super().__init__(key_func=caller_key, config_filename="")
        self.windows = windows
        self.messages = parse(f"{messages_per_minute}/minute")

    async def admit_message(self, request: Request) -> None:
        """Counts one question of the caller, and tells the answer's headers how it stands."""
        standing = await self.admit(request, self.messages, MESSAGES, caller_key(request))
        add_headers(request.scope, rate_headers(standing))

    async def admit_frame(self, connection: HTTPConnection) -> None:
        """Counts one question of a socket's user. Raises RunnelError `rate_limited`."""
        await self._admit(connection, MESSAGES)

    async def admit_new_session(self, connection: HTTPConnection) -> None:
        """Counts a session that a socket's user makes by naming it; there may be as many as
        questions. Raises RunnelError `rate_limited`.
        """
        await self._admit(connection, "new sessions")

    async def _admit(self, connection: HTTPConnection, scope: str) -> None:
        taken, standing = await self.windows.hit(self.messages, scope, caller_key(connection))
        if not taken:
            raise RunnelError(
                Code.RATE_LIMITED,
                f"At most {self.messages} for {scope}. Wait, then try again.",
                retry_after=max(1, standing.reset_in),
            )

    async def admit(self, request: Request, limit: RateLimitItem, scope: str, key: str) -> Standing:
        """Counts one. Raises slowapi's RateLimitExceeded, and earns the answer `Retry-After`."""
        taken, standing = await self.windows.hit(limit, scope, key)
        if not taken:
            add_headers(
                request.scope,
                rate_headers(standing) | {"Retry-After": str(max(1, standing.reset_in))},
            )
            raise RateLimitExceeded(
                Limit(limit, caller_key, scope, False, None, None, None, 1, False)
            )
        return standing

    async def message_standing(self, request: Request) -> Standing:
        """How the caller stands, without counting."""
        return await self.windows.standing(self.messages, MESSAGES, caller_key(request))


def rate_headers(standing: Standing) -> dict[str, str]:
    return {
        "X-RateLimit-Limit": str(standing.limit),
        "X-RateLimit-Remaining": str(standing.remaining),
        "X-RateLimit-Reset": str(math.ceil(standing.reset_at)),
    }
