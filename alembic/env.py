"""Runs the migrations: over the connection that the program gives, or over DATABASE_URL by hand."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from runnel.settings import load_settings
from runnel.store.engine import Database
from runnel.store.migrate import changing
from runnel.store.schema import SCHEMA


def is_of_the_tables(name: str | None, kind: str, _: object) -> bool:
    """Not what the full-text search keeps beside them, which SQLAlchemy has no words for."""
    if kind == "index":
        return name != "ix_search_documents_words"
    return not (kind == "table" and name is not None and name.startswith("search_index"))


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=SCHEMA,
        # SQLite can change a table only by making it anew.
        render_as_batch=True,
        transactional_ddl=True,
        include_name=is_of_the_tables,
    )
    with context.begin_transaction():
        context.run_migrations()


async def migrate_by_hand() -> None:
    settings = load_settings()
    database = Database(
        settings.database_url, pool_size=1, timeout_seconds=settings.database_timeout_seconds
    )
    async with changing(database) as connection:
        await connection.run_sync(migrate)
    await database.close()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    asyncio.run(migrate_by_hand())
