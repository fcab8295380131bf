"""Waiting for the first of several, and leaving nothing of the others behind."""

import asyncio
from collections.abc import Coroutine
from typing import Any  # what is awaited may give anything

Waited = asyncio.Future[Any] | Coroutine[Any, Any, Any]


async def first_of(*waited: Waited) -> None:
    """Returns once one of them is done. A future that is given goes on; a coroutine is cancelled."""
    tasks = {asyncio.ensure_future(each) for each in waited}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks - set(waited):
            await cancelled(task)


async def cancelled(task: asyncio.Future[Any]) -> None:
    """Cancels it, and waits for it to be over."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
