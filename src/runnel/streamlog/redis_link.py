"""One connection to Redis, its scripts, and which errors mean that it is to be asked again."""

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from hashlib import sha1
from pathlib import Path
from typing import Any, Final

from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import ConnectionError as BrokenError
from redis.exceptions import NoScriptError, RedisError

from runnel.streamlog.redis_wire import Answered, Argument, Command, Wire

#: Redis is away, or cannot do it now. Whatever was asked is asked again.
AWAY: Final = (RedisError, OSError)
_SCRIPTS: Final = Path(__file__).with_name("scripts")
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


class Script:
    """A step in Lua that Redis takes as one."""

    def __init__(self, name: str) -> None:
        self.text: Final = (_SCRIPTS / f"{name}.lua").read_bytes()
        self.sha: Final = sha1(self.text, usedforsecurity=False).hexdigest()

    def known(self, keys: Sequence[str], arguments: Sequence[Argument]) -> Command:
        """The command that runs it, if Redis knows it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *arguments)

    def told(self, keys: Sequence[str], arguments: Sequence[Argument]) -> Command:
        """The command that tells Redis what it is, and runs it."""
        return ("EVAL", self.text, len(keys), *keys, *arguments)


class Link:
    """Connects when it has something to ask. What waits behind another call may wait as long as that."""

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
        self._connecting = asyncio.Lock()
        self._wire: Wire | None = None
        self._timeout_seconds = timeout_seconds

    @property
    def up(self) -> bool:
        """Whether it is connected, as far as is known."""
        return self._wire is not None and self._wire.up

    async def connect(self) -> None:
        """Raises one of AWAY."""
        async with self._connecting:
            if not self.up:
                await self._connect()

    async def _connect(self) -> None:
        connection = self._connection
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await connection.disconnect(nowait=True)
                await connection.connect()
        except RuntimeError as error:
            # What uvloop says of a connection that was reset while nobody read from it.
            await connection.disconnect(nowait=True)
            raise BrokenError(str(error)) from error
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        # The library has signed in and chosen the database; from here on it costs too much.
        self._wire = Wire(connection._writer.transport)  # noqa: SLF001 - it shows it nowhere else
        if not self._wire.up:
            raise BrokenError("Redis closed the connection at once")

    def ask(self, command: Command, answered: Answered) -> None:
        """Without waiting, of a link that is up: `answered` gets what came, or one of AWAY."""
        assert self._wire is not None
        self._wire.ask(command, answered, self._timeout_seconds)

    async def call(self, *command: Argument, patience_seconds: float = 0) -> Any:
        """What Redis answers, in bytes. Raises one of AWAY."""
        if not self.up:
            await self.connect()
        assert self._wire is not None
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        seconds = self._timeout_seconds + patience_seconds
        self._wire.ask(command, partial(_settle, done), seconds)
        return await done

    async def run(self, script: Script, keys: Sequence[str], *arguments: Argument) -> Any:
        """The same for a script; one that Redis does not know, or no longer, is told to it."""
        try:
            return await self.call(*script.known(keys, arguments))
        except NoScriptError:
            return await self.call(*script.told(keys, arguments))

    async def close(self) -> None:
        if self._wire is not None:
            self._wire.lose(BrokenError("It is closed here"))
        await self._connection.disconnect(nowait=True)


def _settle(done: asyncio.Future[Any], answer: Any) -> None:
    if done.done():
        return  # nobody waits for it any more
    if isinstance(answer, Exception):
        done.set_exception(answer)
    else:
        done.set_result(answer)


def pauses() -> Iterator[float]:
    """How long to wait before asking again: at first not at all, as a connection may be old."""
    yield 0
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * 2, _LONGEST_PAUSE)
