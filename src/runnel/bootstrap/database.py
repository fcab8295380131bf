"""The database: opened and checked, or only brought to the newest schema."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from runnel.errors import StartupError
from runnel.settings import Settings
from runnel.store.engine import Database
from runnel.store.migrate import migrate


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncGenerator[Database]:
    """Raises StartupError; of a Postgres that may well answer soon, AwayError."""
    try:
        database = Database(
            settings.database_url,
            pool_size=settings.database_pool_size,
            timeout_seconds=settings.database_timeout_seconds,
        )
    except OSError as error:
        raise StartupError(f"cannot open {settings.database_url}: {error}") from None
    try:
        await database.open()
        yield database
    finally:
        await database.close()


async def migrate_database(settings: Settings) -> None:
    """Brings the database to the newest schema."""
    async with open_database(settings) as database:
        await migrate(database)
