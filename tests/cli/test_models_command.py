"""`runnel models`: the aliases, in a pipe, on a terminal, and as JSON."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Here, ListingProvider, alias_of, on_terminal, write_models

from provider import Answer

KEYLESS = "needs the environment variable LOCAL_KEY, which is empty"
REFUSED = "the provider refused the API key (HTTP 401)"


@pytest.fixture
def refusing() -> Iterator[ListingProvider]:
    """A provider that knows no key."""
    with ListingProvider() as other:
        other.listing = Answer(status=401)
        yield other


@pytest.fixture(autouse=True)
def aliases(tmp_path: Path, provider: ListingProvider, refusing: ListingProvider) -> None:
    write_models(
        tmp_path,
        default="chat/test",
        chat__test=alias_of(provider),
        b=alias_of(refusing, "[red]m", fallbacks=["chat/test"]),
        keyless=alias_of(provider, api_key_env="LOCAL_KEY", fallbacks=["chat/test"]),
    )


def test_in_a_pipe_it_is_aligned_text_and_nobody_is_asked(
    here: Here, provider: ListingProvider, refusing: ListingProvider
) -> None:
    done = here("models")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "ALIAS      PROVIDER  MODEL   DEFAULT  AVAILABLE",
        "chat/test  openai    test    *        yes",
        "b          openai    [red]m           yes",
        f"keyless    openai    test             no: {KEYLESS}",
    ]
    assert [*provider.requests, *refusing.requests] == []


def test_the_providers_are_asked_where_that_is_wanted(here: Here) -> None:
    done = here("models", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split("  ")[-1].strip() for line in done.stdout.splitlines()[1:]] == [
        "yes",
        f"no: {REFUSED}",
        f"no: {KEYLESS}",
    ]


def test_as_json_it_is_what_the_server_lists_and_why_not(here: Here) -> None:
    done = here("models", "--json", "--check")
    assert (done.returncode, done.stderr) == (0, "")
    openai = {"provider": "openai"}
    assert json.loads(done.stdout) == {
        "default": "chat/test",
        "models": [
            {"alias": "chat/test", "model": "test", "available": True, **openai},
            {"alias": "b", "model": "[red]m", "available": False, "reason": REFUSED, **openai},
            {"alias": "keyless", "model": "test", "available": False, "reason": KEYLESS, **openai},
        ],
    }


@pytest.mark.timeout(180)
def test_on_a_terminal_it_is_a_table(tmp_path: Path) -> None:
    with on_terminal(tmp_path, "models") as terminal:
        shown = terminal.to_the_end()
        assert terminal.process.returncode == 0
    assert "\x1b[32myes" in shown
    assert "\x1b[31mno: " in shown
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert re.search(r"^ *Alias +Provider +Model +Default +Available *\r$", plain, re.MULTILINE)
    assert "────" in plain
    assert re.search(r"^ *b +openai +\[red\]m +yes *\r$", plain, re.MULTILINE)


def test_without_a_file_the_demo_is_listed(here: Here, tmp_path: Path) -> None:
    (tmp_path / "models.json").unlink()
    assert here("models").stdout.splitlines()[1:] == ["builtin/demo  builtin   demo   *        yes"]
