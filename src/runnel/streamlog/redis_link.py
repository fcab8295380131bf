"""One connection to Redis, its scripts, and which errors mean that it is to be asked again."""

import asyncio
from collections.abc import Iterator, Sequence
from hashlib import sha1
from pathlib import Path
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import ConnectionError as BrokenError
from redis.exceptions import NoScriptError, RedisError, ResponseError

#: Redis is away, or cannot do it now. Whatever was asked is asked again.
AWAY: Final = (RedisError, OSError)
#: In C: the library's own way takes microseconds for each argument. (Any: its types are wrong.)
_PACK: Final = cast("Any", hiredis).pack_command
_SCRIPTS: Final = Path(__file__).with_name("scripts")
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

Argument = str | int | bytes


class Script:
    """A step in Lua that Redis takes as one."""

    def __init__(self, name: str) -> None:
        self.text: Final = (_SCRIPTS / f"{name}.lua").read_bytes()
        self.sha: Final = sha1(self.text, usedforsecurity=False).hexdigest()


class Link:
    """Takes one call at a time. It connects when it has something to ask."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        """Raises ValueError for an address that is none."""
        options: dict[str, Any] = {
            "protocol": 2,
            "driver_info": None,
            "socket_timeout": None,  # each call has its own
            "socket_connect_timeout": timeout_seconds,
            **parse_url(url),
        }
        kind: Any = options.pop("connection_class", Connection)
        self._connection: Any = kind(**options)  # the library says little of its types
        self._timeout_seconds = timeout_seconds

    async def call(self, *command: Argument, patience_seconds: float = 0) -> Any:
        """What Redis answers, in bytes. Raises one of AWAY."""
        connection = self._connection
        try:
            async with asyncio.timeout(self._timeout_seconds + patience_seconds):
                if not connection.is_connected:
                    await connection.connect()
                await connection.send_packed_command(_PACK(command))
                return await connection.read_response()
        except ResponseError:
            raise
        except RuntimeError as error:
            # What uvloop says of a connection that was reset while nobody read from it.
            await connection.disconnect(nowait=True)
            raise BrokenError(str(error)) from error
        except BaseException:
            # An answer may come still, and would be taken for that of the next call.
            await connection.disconnect(nowait=True)
            raise

    async def run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        """The same for a script; one that Redis does not know, or no longer, is told to it."""
        try:
            return await self.call("EVALSHA", script.sha, len(keys), *keys, *arguments)
        except NoScriptError:
            return await self.call("EVAL", script.text, len(keys), *keys, *arguments)

    async def close(self) -> None:
        await self._connection.disconnect(nowait=True)


def pauses() -> Iterator[float]:
    """How long to wait before asking again: at first not at all, as a connection may be old."""
    yield 0
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE)
