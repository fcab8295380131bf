"""The migrations make what the tables say, and can be gone back."""

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect

from runnel.store.engine import Database
from runnel.store.migrate import migrate
from runnel.store.tables import Base

ROOT = Path(__file__).parents[2]


def test_the_migrated_database_is_what_the_tables_say(migrated: Path) -> None:
    engine = create_engine(f"sqlite:///{migrated}")
    with engine.connect() as connection:
        differences = compare_metadata(
            MigrationContext.configure(connection, opts={"include_name": _is_of_the_tables}),
            Base.metadata,
        )
    engine.dispose()
    assert differences == []


def _is_of_the_tables(name: str | None, kind: str, _: object) -> bool:
    """Not what SQLite's full-text search keeps beside them, which SQLAlchemy has no words for."""
    return not (kind == "table" and name is not None and name.startswith("search_index"))


async def test_a_database_that_is_up_to_date_is_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(
        f"sqlite+aiosqlite:///{tmp_path / 'new.db'}", pool_size=1, timeout_seconds=5
    )
    await migrate(database)
    async with database.write() as connection:
        await connection.exec_driver_sql("CREATE TABLE kept (id TEXT)")
    caplog.clear()
    with caplog.at_level("INFO", logger="alembic"):
        await migrate(database)
    await database.close()
    assert "Running upgrade" not in caplog.text


def test_all_of_it_can_be_undone(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'undone.db'}")
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        command.downgrade(config, "base")
    assert inspect(engine).get_table_names() == ["alembic_version"]
    engine.dispose()
