"""What is written to a run's folder, when the disk does as it likes."""

import resource
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runnel.telemetry.run_folder import RunFolder

LINE = b"x" * 99 + b"\n"


def folder_of(path: Path, *, max_bytes: int = 1000, files: int = 3) -> RunFolder:
    return RunFolder(path / "run", b"{}\n", max_bytes=max_bytes, files=files)


@contextmanager
def no_file_larger_than(size: int) -> Generator[None]:
    """The system refuses what goes beyond it, with the half of a write before it done."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_half_a_line_is_taken_back(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.append(LINE)
    with no_file_larger_than(150), pytest.raises(OSError, match="large"):
        folder.append(LINE)
    assert (tmp_path / "run" / "interactions.jsonl").read_bytes() == LINE
    folder.append(LINE)
    folder.close()
    assert (tmp_path / "run" / "interactions.jsonl").read_bytes() == LINE * 2


@pytest.mark.parametrize("files", [1, 2, 3])
def test_the_newest_lines_stay_in_so_many_files(tmp_path: Path, files: int) -> None:
    folder = folder_of(tmp_path, max_bytes=250, files=files)
    lines = [b"%09d\n" % number * 10 for number in range(20)]
    for line in lines:
        folder.append(line)
    folder.close()
    names = ["interactions.2.jsonl", "interactions.1.jsonl", "interactions.jsonl"][-files:]
    found = [(tmp_path / "run" / name).read_bytes() for name in names]
    assert b"".join(found) == b"".join(lines[-2 * files :])
    assert len(list((tmp_path / "run").iterdir())) == files + 1


def test_a_line_too_long_for_any_file_has_one_of_its_own(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, max_bytes=50)
    for _ in range(2):
        folder.append(LINE)
    folder.close()
    for name in ("interactions.jsonl", "interactions.1.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == LINE


def test_nobody_else_may_read_them(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    folder.append(LINE)
    folder.close()
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / "interactions.jsonl").stat().st_mode & 0o777 == 0o600
