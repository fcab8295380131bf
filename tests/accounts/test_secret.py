"""The kept secret: one, however many make it, on whatever volume."""

import errno
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from runnel.accounts.secret import kept_secret
from runnel.errors import StartupError

STARTERS = 8
ROUNDS = 30


@pytest.mark.parametrize("links", [True, False], ids=["with links", "without links"])
def test_all_that_start_together_have_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    together = threading.Barrier(STARTERS)

    def start(file: Path) -> str:
        together.wait()
        return kept_secret(file)

    with ThreadPoolExecutor(STARTERS) as threads:
        for number in range(ROUNDS):
            file = tmp_path / str(number) / "secret"
            found = set(threads.map(start, [file] * STARTERS))
            assert found == {file.read_text().strip()}
            assert file.stat().st_mode & 0o777 == 0o600
            assert [each.name for each in file.parent.iterdir()] == ["secret"]


def no_links(_source: object, _target: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_one_that_was_written_by_hand_is_taken(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("by hand, without a line break")
    assert kept_secret(tmp_path / "secret") == "by hand, without a line break"


def test_an_empty_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").touch()
    with pytest.raises(StartupError, match="holds no secret"):
        kept_secret(tmp_path / "secret")
