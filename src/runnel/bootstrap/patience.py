"""A server whose Postgres is not there yet: it is waited for, and nobody has to start us again."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

import structlog

from runnel.bootstrap.database import open_database
from runnel.bootstrap.server import Server, open_server
from runnel.errors import AwayError, Code, RunnelError
from runnel.settings import Settings

_log = structlog.stdlib.get_logger()
#: Between two looks for it, each of which has a line in the log: at first, and at most.
_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 2.0


async def open_patiently(
    settings: Settings, stack: AsyncExitStack, waits: Callable[[], None]
) -> Server:
    """Opens a server into the stack, once its database is there.

    `waits` is called each time that it is found not to be. Raises StartupError for what waiting
    does not help.
    """
    while True:
        try:
            return await stack.enter_async_context(open_server(settings))
        except AwayError as error:
            why = str(error)
        except RunnelError as error:  # it went while the server was being opened
            if error.code is not Code.STORE_UNAVAILABLE:
                raise
            why = error.message
        waits()
        _log.warning("database.awaited", why=why)
        await _until_there(settings)


async def _until_there(settings: Settings) -> None:
    # Alone: to open the whole server would ask every provider again, each time.
    pause = _PAUSE_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        try:
            async with open_database(settings):
                return
        except AwayError:
            continue
