"""Where the stream logs are kept: in this process, or in a Redis that many instances share."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from runnel.errors import StartupError
from runnel.settings import Settings
from runnel.streamlog.memory import MemoryLog

if TYPE_CHECKING:
    from runnel.streamlog.redis import RedisLog


@asynccontextmanager
async def open_streams(settings: Settings) -> AsyncGenerator["MemoryLog | RedisLog"]:
    """Raises StartupError for an address that is none; a Redis that is away may come back."""
    if not settings.redis_url:
        yield MemoryLog(
            retention_seconds=settings.stream_retention_seconds,
            total_bytes=settings.log_total_bytes,
            page_bytes=settings.read_page_bytes,
        )
        return
    from runnel.streamlog.redis import RedisLog  # noqa: PLC0415 - 7 MB that only Redis needs

    try:
        log = RedisLog(
            settings.redis_url,
            prefix=settings.redis_key_prefix,
            timeout_seconds=settings.redis_timeout_seconds,
            retention_seconds=settings.stream_retention_seconds,
            # An answer that is taken over may begin anew, and its log is kept anew then.
            running_seconds=2 * settings.generation_timeout_seconds
            + settings.stream_retention_seconds,
            total_bytes=settings.log_total_bytes,
            page_bytes=settings.read_page_bytes,
            tail_bytes=settings.stream_tail_bytes,
        )
    except ValueError as error:
        raise StartupError(f"REDIS_URL: {error}") from None
    async with log:
        yield log
