"""Brings a database to the newest schema, by the migrations in alembic/."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.errors import StartupError
from runnel.store.engine import Database

_log = structlog.stdlib.get_logger()
#: The number of the advisory lock: "runnel", and the second thing that is locked by one.
_MIGRATION: Final = 0x72756E6E656C01
_INSTALLED: Final = Path(__file__).parent / "migrations"
_IN_REPOSITORY: Final = Path(__file__).parents[3] / "alembic"


async def migrate(database: Database) -> None:
    """Applies what is missing; does nothing to a database that is up to date."""
    async with changing(database) as connection:
        await connection.run_sync(_upgrade)


@asynccontextmanager
async def changing(database: Database) -> AsyncGenerator[AsyncConnection]:
    """A transaction that may change the schema: of several at once, the others wait for one."""
    async with database.change() as connection:
        if not database.is_sqlite:  # which lets one write at a time anyway
            await connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION)))
        yield connection


def _upgrade(connection: Connection) -> None:
    config = Config()
    folder = _INSTALLED if _INSTALLED.is_dir() else _IN_REPOSITORY
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["connection"] = connection
    newest = ScriptDirectory.from_config(config).get_current_head()
    present = MigrationContext.configure(connection).get_current_revision()
    if present != newest:
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StartupError(
                f"the database is of another version of Runnel, {present}, than this one, {newest};"
                " go forward again, or put its backup back"
            ) from error
        _log.info("database.migrated", before=present, after=newest)
