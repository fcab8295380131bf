"""The migrations applied, by alembic: loaded only where there is something to apply."""

from pathlib import Path

import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from runnel.errors import StartupError

_log = structlog.stdlib.get_logger()


def upgrade(connection: Connection, scripts: Path) -> None:
    """Applies what is missing. Raises StartupError for a database of another version's."""
    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
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
