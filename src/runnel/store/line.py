"""A line for the places of a database: who waits longest is served next."""

import asyncio
from collections import deque


class Line:
    """Who waits for one of a few places, in the order in which they came; entered, it gives one.

    It is given up only when nobody got through for `seconds`: a long line that moves on is not a
    database that is away.

    `pass_by` gives one too, and one that is free even if others wait for it: for who needs it for
    less time than the first of them takes to come. Else a line would never end that has formed
    once: each, while it came to its place, would have the next come too late for it.
    """

    def __init__(self, places: int, seconds: float) -> None:
        self._free = places
        self._seconds = seconds
        self._passed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        """Raises TimeoutError."""
        if self._free and not self._waiting:
            self._free -= 1
        else:
            await self._wait()

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        self.leave(error)

    async def pass_by(self) -> None:
        """Has to be followed by `leave`. Raises TimeoutError."""
        if self._free:
            self._free -= 1
        else:
            await self._wait()

    def leave(self, error: object) -> None:
        """Gives a place back; `error` is what went wrong with it, if anything did."""
        if error is None:
            self._passed += 1
        self._free += 1
        self._call()

    def _call(self) -> None:
        """Whoever is first comes; what is free then is not kept for him."""
        if self._free and self._waiting and not self._waiting[0].done():
            self._waiting[0].set_result(None)

    async def _wait(self) -> None:
        turn = self._turn()
        self._waiting.append(turn)
        try:
            while True:
                passed = self._passed
                try:
                    async with asyncio.timeout(self._seconds):
                        await turn
                except TimeoutError:
                    if self._passed == passed:
                        raise
                else:
                    if self._free:
                        self._free -= 1
                        return
                place = self._waiting.index(turn)
                turn = self._waiting[place] = self._turn()
                self._call()
        finally:
            self._waiting.remove(turn)
            self._call()

    def _turn(self) -> asyncio.Future[None]:
        return asyncio.get_running_loop().create_future()
