"""Exports and imports of one user, for the command line."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from runnel.accounts.entities import User
from runnel.bootstrap.accounts import open_accounts
from runnel.bootstrap.database import open_database
from runnel.bootstrap.files import files_of, open_kinds
from runnel.chat.sessions.exporting import Exporting
from runnel.chat.sessions.import_files import ImportedFiles
from runnel.chat.sessions.importing import Importing
from runnel.files.one_import import only_import
from runnel.settings import Settings
from runnel.store.exporting import SqlExports
from runnel.store.importing import SqlImports
from runnel.store.migrate import migrate


@asynccontextmanager
async def open_exporting(
    settings: Settings, username: str
) -> AsyncGenerator[tuple[Exporting, User]]:
    """Exports of a user's, for the command line, beside a running server or without one.

    Raises RunnelError `not_found` for a name that nobody has.
    """
    async with open_database(settings) as database:
        await migrate(database)
        async with open_accounts(settings, database) as who:
            user = await who.administration.find(username)
        yield Exporting(SqlExports(database), files_of(settings)), user


@asynccontextmanager
async def open_importing(
    settings: Settings, username: str, tell: Callable[[str], None]
) -> AsyncGenerator[Importing]:
    """Imports for a user, likewise; one at a time, else RunnelError `conflict`."""
    with only_import(settings.data_dir):
        async with _importing(settings, username, tell) as importing:
            yield importing


@asynccontextmanager
async def _importing(
    settings: Settings, username: str, tell: Callable[[str], None]
) -> AsyncGenerator[Importing]:
    async with open_database(settings) as database:
        await migrate(database)
        async with open_accounts(settings, database) as who:
            user = await who.administration.find(username)
        with open_kinds(settings) as kinds:
            files = ImportedFiles(files_of(settings), kinds)
            yield Importing(SqlImports(database), files, user.id, user.username, tell)
