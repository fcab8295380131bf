"""Brings a database to the newest schema, by the migrations in alembic/."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.store.engine import Database

#: The number of the advisory lock: "runnel", and the second thing that is locked by one.
_MIGRATION: Final = 0x72756E6E656C01
_INSTALLED: Final = Path(__file__).parent / "migrations"
_IN_REPOSITORY: Final = Path(__file__).parents[3] / "alembic"


async def migrate(database: Database) -> None:
    """Applies what is missing; does nothing to a database that is up to date."""
    async with database.read() as connection:
        if await connection.run_sync(_revisions) == [_newest()]:
            return
    # Alembic takes 100 ms and 9 MB to load, for what most starts find nothing to do.
    from runnel.store.upgrading import upgrade  # noqa: PLC0415 - as said

    async with changing(database) as connection:
        await connection.run_sync(upgrade, scripts())


@asynccontextmanager
async def changing(database: Database) -> AsyncGenerator[AsyncConnection]:
    """A transaction that may change the schema: of several at once, the others wait for one."""
    async with database.change() as connection:
        if not database.is_sqlite:  # which lets one write at a time anyway
            await connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION)))
        yield connection


def scripts() -> Path:
    """The folder of the migrations."""
    return _INSTALLED if _INSTALLED.is_dir() else _IN_REPOSITORY


def _newest() -> str:
    """By the files' names, which begin with what they lead to: a test holds them to that."""
    names = (file.name for file in scripts().glob("versions/*_*.py"))
    return max((name.partition("_")[0] for name in names), default="")


def _revisions(connection: Connection) -> Sequence[str]:
    """What the database says of itself, where alembic keeps it."""
    if not inspect(connection).has_table("alembic_version"):
        return []
    return connection.scalars(text("SELECT version_num FROM alembic_version")).all()
