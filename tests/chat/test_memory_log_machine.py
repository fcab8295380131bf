"""The stream log in memory holds against the model, whatever is done to it in whatever order."""

import pytest
from log_machine import SETTINGS, TIMEOUT, LogMachine

from runnel.streamlog.memory import MemoryLog

pytestmark = pytest.mark.timeout(TIMEOUT)


class MemoryLogMachine(LogMachine):
    patience = 0.01

    def __init__(self) -> None:
        self.memory = MemoryLog(retention_seconds=0, total_bytes=10**9, page_bytes=1000)
        super().__init__()

    async def make_log(self) -> MemoryLog:
        return self.memory

    async def trim(self) -> None:
        self.memory.tidy()


TestMemoryLogMachine = MemoryLogMachine.TestCase
TestMemoryLogMachine.settings = SETTINGS
