"""What a process has loaded is in huge pages afterwards, where the system has them to give."""

import ctypes
import mmap
import os
import platform
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnel.bootstrap import huge_pages

BYTES = 16 * 1024 * 1024
_BOUNDS = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) ")
_VERSION = re.match(r"(\d+)\.(\d+)", platform.release())
_ENABLED = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_COLLAPSES = (
    _VERSION is not None
    and tuple(map(int, _VERSION.groups())) >= (6, 1)
    and _ENABLED.exists()
    # Where it says "always", the system moves what it likes when it likes, and a test cannot tell.
    and "[madvise]" in _ENABLED.read_text()
)


collapsing = pytest.mark.skipif(
    not _COLLAPSES, reason="needs Linux 6.1 and huge pages for those alone who ask"
)


def huge_bytes(address: int) -> int:
    """Of the mapping that an address is in."""
    inside = False
    for line in Path("/proc/self/smaps").read_text(errors="replace").splitlines():
        if bounds := _BOUNDS.match(line):
            first, end = (int(bound, 16) for bound in bounds.groups())
            inside = first <= address < end
        elif inside and line.startswith("AnonHugePages:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no mapping has {address:x}")


@pytest.fixture
def address() -> Iterator[int]:
    """Of a block in small pages, which may be moved."""
    with mmap.mmap(-1, BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as block:
        # Else the system may count it together with what lies beside it. (To ask for huge pages would
        # keep it apart too, and have the system move it at any moment by itself.)
        block.madvise(mmap.MADV_DONTFORK)
        said = os.urandom(BYTES)
        block[:] = said
        first = ctypes.c_char.from_buffer(block)
        try:
            assert huge_bytes(ctypes.addressof(first)) == 0
            yield ctypes.addressof(first)
            assert block[:] == said  # unharmed
        finally:
            del first  # else it cannot be closed


def allows(monkeypatch: pytest.MonkeyPatch, folder: Path, says: str) -> None:
    (folder / "enabled").write_text(says)
    monkeypatch.setattr(huge_pages, "_ENABLED", folder / "enabled")


@collapsing
def test_what_is_there_is_moved(
    address: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allows(monkeypatch, tmp_path, "always [madvise] never\n")
    huge_pages.use_huge_pages()
    assert huge_bytes(address) >= BYTES // 2


@collapsing
def test_nothing_is_moved_where_they_are_forbidden(
    address: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allows(monkeypatch, tmp_path, "always madvise [never]\n")
    huge_pages.use_huge_pages()
    assert huge_bytes(address) == 0


@pytest.mark.parametrize("missing", ["_MAPS", "_ENABLED"])
def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(huge_pages, missing, Path("/nowhere"))
    huge_pages.use_huge_pages()
