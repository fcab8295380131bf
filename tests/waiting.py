"""Waiting for what will hold very soon: asked again and again, but not for ever."""

import asyncio
import time
from collections.abc import Callable

POLLS = 250
POLL_SECONDS = 0.02


def until(holds: Callable[[], object]) -> None:
    """Blocks until it holds."""
    for _ in range(POLLS):
        if holds():
            return
        time.sleep(POLL_SECONDS)
    raise AssertionError


async def soon(holds: Callable[[], object]) -> None:
    """The same, without blocking the loop."""
    for _ in range(POLLS):
        if holds():
            return
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError
