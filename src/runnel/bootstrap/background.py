"""What runs by itself beside a server."""

import asyncio
from collections.abc import AsyncGenerator, Collection, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

_AGAIN_SECONDS: Final = 0.2


@asynccontextmanager
async def running(*works: Coroutine[Any, Any, None]) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        await _end(tasks)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    left = {*tasks}
    while left:
        for task in left:
            task.cancel()
        # Once is not always enough: asyncio.wait_for, before Python 3.12, may swallow it.
        _, left = await asyncio.wait(left, timeout=_AGAIN_SECONDS)
