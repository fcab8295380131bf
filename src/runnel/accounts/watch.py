"""Ends what a revoked login, a revoked key or a disabled user still holds open.

The work of a look grows with what was revoked, not with what is open.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from typing import Final, NoReturn

import structlog

from runnel.accounts.entities import Identity
from runnel.accounts.ports import RevocationStore
from runnel.errors import RunnelError

#: Each look sees this much again: clocks differ, and commits come after their timestamps.
OVERLAP: Final = timedelta(seconds=30)
#: Deleted users leave no trace; this many of those who hold something are looked up each time.
MISSING_PER_LOOK: Final = 500
#: Between two looks at least, however often it is woken.
_BREATH_SECONDS: Final = 0.05

_log = structlog.get_logger()
_Index = defaultdict[str, set["_Holding"]]


class _Holding:
    """Filed while it is entered. One for each stream that is open: a generator would be heavier."""

    __slots__ = ("_files", "close", "ended")

    def __init__(self, files: Sequence[tuple[_Index, str]], close: Callable[[], None]) -> None:
        self.close = close
        self.ended = False
        self._files = files

    def __enter__(self) -> None:
        for index, key in self._files:
            index[key].add(self)

    def __exit__(self, *_: object) -> None:
        for index, key in self._files:
            index[key].remove(self)
            if not index[key]:
                del index[key]

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.close()


class Watch:
    """Knows what is held open on this instance, and looks every `check_seconds` who may not.

    Whoever hears that something was revoked wakes it, and it looks at once.

    `on_user_disabled` is awaited once for each user that gets disabled, whether it holds
    something here or not. An expired login ends nothing.
    """

    def __init__(
        self,
        store: RevocationStore,
        *,
        check_seconds: float,
        clock: Callable[[], datetime],
        on_user_disabled: Callable[[str], Awaitable[None]],
    ) -> None:
        self._store = store
        self._check_seconds = check_seconds
        self._clock = clock
        self._on_user_disabled = on_user_disabled
        self._by_login: _Index = defaultdict(set)
        self._by_user: _Index = defaultdict(set)
        self._looked = clock()
        self._reported: dict[str, datetime] = {}
        self._to_look_up: list[str] = []
        self._woken = asyncio.Event()

    def holding(
        self, identity: Identity, close: Callable[[], None]
    ) -> AbstractContextManager[None, None]:
        """Inside, `close` is called at most once, as soon as the identity does not hold any more.

        It must neither block nor raise. A guest is known by its user alone.
        """
        by_user = (self._by_user, identity.user_id)
        if identity.login_id is None:
            return _Holding((by_user,), close)
        return _Holding((by_user, (self._by_login, identity.login_id)), close)

    async def run(self) -> NoReturn:
        """Looks until it is cancelled. A look that fails is logged; the next makes up for it."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_seconds):
                    await self._woken.wait()
            # Before the look: what is revoked while it looks wakes it again.
            self._woken.clear()
            try:
                await self.look()
            except RunnelError as error:
                _log.warning("revocations_not_read", code=error.code)
            except Exception:  # noqa: BLE001 - the outermost frame: a dead watch would end nothing
                _log.exception("revocations_not_ended")
            await asyncio.sleep(min(_BREATH_SECONDS, self._check_seconds))

    def wake(self) -> None:
        """Something was revoked: it looks at once. Returns at once, and never raises."""
        self._woken.set()

    async def look(self) -> None:
        """One look. Raises RunnelError `store_unavailable`, then the next sees it all."""
        begun = self._clock()
        found = await self._store.revoked_since(self._looked - OVERLAP)
        # What is known is matched again: it may have been opened just before it was revoked,
        # and have come here only after the look that saw that.
        revoked = _held_by(self._by_login, found.logins)
        disabled = _held_by(self._by_user, found.users)
        _end(revoked - disabled)
        try:
            # Before their readers are closed, so that they are told what became of the answer.
            await self._report(found.users)
        finally:
            _end(disabled)
        _end(_held_by(self._by_user, await self._missing()))
        self._looked = begun

    async def _missing(self) -> set[str]:
        if not self._to_look_up:
            self._to_look_up = list(self._by_user)
        batch = self._to_look_up[-MISSING_PER_LOOK:]
        missing = await self._store.missing_users(batch) if batch else set[str]()
        del self._to_look_up[-MISSING_PER_LOOK:]
        return missing

    async def _report(self, users: Mapping[str, datetime]) -> None:
        # Forget what no look will see again, so that this stays as small as the overlap.
        self._reported = {
            user_id: at for user_id, at in self._reported.items() if users.get(user_id) == at
        }
        new = {user_id: at for user_id, at in users.items() if user_id not in self._reported}
        await asyncio.gather(*map(self._on_user_disabled, new))
        self._reported |= new


def _held_by(index: Mapping[str, set[_Holding]], keys: Iterable[str]) -> set[_Holding]:
    return {holding for key in keys for holding in index.get(key, ())}


def _end(holdings: Iterable[_Holding]) -> None:
    for holding in holdings:
        holding.end()
