"""How many answers a model makes at a time."""

import asyncio
from types import TracebackType


class Places:
    """As many at a time as `most`; who comes later waits in line. None: no bound.

    Use it as an async context manager. Per instance: another server has places of its own.
    """

    def __init__(self, most: int | None) -> None:
        self.most = most
        self._semaphore = None if most is None else asyncio.Semaphore(most)

    @property
    def full(self) -> bool:
        """Whether whoever comes now has to wait."""
        return self._semaphore is not None and self._semaphore.locked()

    async def __aenter__(self) -> None:
        if self._semaphore is not None:
            await self._semaphore.acquire()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._semaphore is not None:
            self._semaphore.release()
