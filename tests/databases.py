"""Databases of tests, on either back end; see postgres.py."""

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Final, Literal

import pytest

import postgres

Backend = Literal["sqlite", "postgres"]
BACKENDS: Final[tuple[Backend, ...]] = ("sqlite", "postgres")
MakeDatabase = Callable[..., str]
_numbers = count(1)
_by_folder: dict[Path, str] = {}


def sqlite_url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


@contextmanager
def making_databases(backend: Backend, folder: Path, migrated: Path) -> Generator[MakeDatabase]:
    """`migrated` is SQLite's migrated file. Whatever uses a database has to be closed inside."""
    with ExitStack() as stack:

        def make(*, empty: bool = False) -> str:
            if backend == "postgres" and empty:
                url = postgres.shared().create()
                stack.callback(postgres.shared().drop, url)
            elif backend == "postgres":
                url = postgres.migrated_url()
                stack.callback(postgres.give_back, url)
            else:
                file = folder / f"database{next(_numbers)}.db"
                if not empty:
                    shutil.copy(migrated, file)
                url = sqlite_url(file)
            return url

        yield make


def all_on_postgres() -> bool:
    """Whether the whole suite's servers are to run on Postgres."""
    return os.environ.get("RUNNEL_TEST_DATABASE") == "postgres"


def only_on_sqlite(reason: str) -> None:
    """Skips what looks into SQLite's own file or speaks its own words."""
    if all_on_postgres():
        pytest.skip(f"on SQLite only: {reason}")


def postgres_of(folder: Path) -> str:
    """The database of a server that keeps its other things in a folder: always the same one."""
    if folder not in _by_folder:
        _by_folder[folder] = postgres.migrated_url()
    return _by_folder[folder]


def done_with(folder: Path) -> None:
    """Nothing in the folder is needed any more: others may have its servers' databases."""
    for inside in [each for each in _by_folder if each.is_relative_to(folder)]:
        postgres.give_back(_by_folder.pop(inside))
