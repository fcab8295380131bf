"""A chat core over a copy of the migrated database."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from answers import Chat

pytest.register_assert_rewrite("log_contract", "log_recovery", "log_model", "log_machine")


@pytest.fixture
async def chat(migrated: Path, tmp_path: Path) -> AsyncIterator[Chat]:
    file = tmp_path / "chat.db"
    shutil.copy(migrated, file)
    async with Chat(file) as chat:
        yield chat
