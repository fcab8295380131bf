"""What the manifest tells of the code, and what it leaves out of the settings."""

import subprocess
from pathlib import Path

import pytest
from pydantic import SecretStr

from runnel.telemetry.manifest import dependencies, git_sha, without_secrets


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", "one")
    return folder


def test_the_commit_is_found_however_git_keeps_it(checkout: Path) -> None:
    sha = git(checkout, "rev-parse", "HEAD")
    assert git_sha(checkout) == sha
    git(checkout, "pack-refs", "--all")
    assert git_sha(checkout) == sha
    git(checkout, "checkout", "--quiet", "--detach")
    assert git_sha(checkout) == sha
    git(checkout, "worktree", "add", "--quiet", "-b", "beside", "../beside")
    beside = checkout.parent / "beside"
    assert git_sha(beside) == sha
    git(beside, "commit", "--quiet", "--allow-empty", "-m", "two")
    assert git_sha(beside) == git(beside, "rev-parse", "HEAD") != sha


def test_where_there_is_no_commit_none_is_told(tmp_path: Path) -> None:
    assert git_sha(tmp_path) is None
    (tmp_path / ".git").write_text("no gitdir here")
    assert git_sha(tmp_path) is None
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "--quiet")
    assert git_sha(empty) is None


def test_dependencies_are_those_declared_and_installed() -> None:
    found = dependencies("runnel")
    assert {"fastapi", "langchain-core", "sqlalchemy", "prometheus-client"} <= set(found)
    assert all(version[0].isdigit() for version in found.values())
    assert dependencies("a-package-that-nobody-has") == {}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://me:pass@db:5432/runnel", "postgresql://[secret]@db:5432/runnel"),
        ("postgresql://me:p/a@s?s@db/runnel", "postgresql://[secret]@db/runnel"),
        ("postgresql://db/runnel?password=canary", "postgresql://db/runnel?[secret]"),
        ("redis://:canary@redis", "redis://[secret]@redis"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("sqlite+aiosqlite:///data/runnel.db", "sqlite+aiosqlite:///data/runnel.db"),
        (("https://a@b", 1), ["https://[secret]@b", 1]),
        (Path("runs"), "runs"),
        (None, None),
        (0.5, 0.5),
    ],
)
def test_addresses_lose_who_signs_in(value: object, shown: object) -> None:
    assert without_secrets({"name": value}, str) == {"name": shown}


def test_secrets_are_left_out_by_name_and_by_value() -> None:
    settings = {"key": SecretStr("canary"), "prompt": "say canary"}
    said = without_secrets(settings, lambda text: text.replace("canary", "[secret]"))
    assert said == {"prompt": "say [secret]"}
