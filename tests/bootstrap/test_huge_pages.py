"""What a process has loaded is in huge pages afterwards, where the system has them to give."""

import mmap
import os
import platform
import re
from pathlib import Path

import pytest

from runnel.bootstrap.huge_pages import use_huge_pages

BYTES = 16 * 1024 * 1024
_VERSION = re.match(r"(\d+)\.(\d+)", platform.release())
COLLAPSES = (
    platform.system() == "Linux"
    and _VERSION is not None
    and tuple(map(int, _VERSION.groups())) >= (6, 1)
    and Path("/sys/kernel/mm/transparent_hugepage").exists()
)


def huge_bytes() -> int:
    rollup = Path("/proc/self/smaps_rollup").read_text()
    found = re.search(r"^AnonHugePages: +(\d+) kB$", rollup, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


@pytest.mark.skipif(not COLLAPSES, reason="huge pages on request come with Linux 6.1")
def test_what_is_there_is_moved_and_unharmed() -> None:
    with mmap.mmap(-1, BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        said = os.urandom(BYTES)
        block[:] = said
        before = huge_bytes()
        use_huge_pages()
        assert huge_bytes() - before >= BYTES // 2
        assert block[:] == said


def test_where_there_are_no_maps_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runnel.bootstrap.huge_pages._MAPS", Path("/nowhere"))
    use_huge_pages()
