"""`runnel check`: the validation before the start, without a start."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Here, ListingProvider, alias_of, begun, said_by, write_models

from provider import BEFORE_HEADERS, Answer


@pytest.fixture
def other() -> Iterator[ListingProvider]:
    with ListingProvider() as other:
        yield other


def test_all_well_is_a_line_each_and_exit_code_0(
    here: Here, tmp_path: Path, provider: ListingProvider
) -> None:
    write_models(
        tmp_path,
        chat__one=alias_of(provider, "one"),
        chat__two=alias_of(provider, "two"),
        demo={"provider": "builtin"},
    )
    done = here("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["chat/one: ok", "chat/two: ok", "demo: ok"]
    # One question proves address and key of both.
    assert len(provider.listings) == 1
    assert provider.asks == []


@pytest.mark.parametrize("startup_check", ["off", "warn", "strict"])
def test_every_fault_is_a_line_and_the_exit_code_2(
    here: Here,
    tmp_path: Path,
    provider: ListingProvider,
    other: ListingProvider,
    startup_check: str,
) -> None:
    other.listing = Answer(status=401, error_message="You sent sk-canary")
    refused = provider.refused_url()
    write_models(
        tmp_path,
        well=alias_of(provider),
        wrong=alias_of(other, api_key_env="WRONG_KEY"),
        away=alias_of(provider, base_url=refused),
        keyless=alias_of(provider, api_key_env="LOCAL_KEY"),
    )
    done = here("check", WRONG_KEY="sk-wrong", STARTUP_CHECK=startup_check)
    assert (done.returncode, done.stdout) == (2, "well: ok\n")
    assert done.stderr.splitlines() == [
        "runnel: keyless: needs the environment variable LOCAL_KEY, which is empty",
        "runnel: wrong: the provider refused the API key (HTTP 401)",
        f"runnel: away: the provider cannot be reached at {refused}/models (ConnectError)",
    ]
    assert other.listings[0].headers["authorization"] == "Bearer sk-wrong"


@pytest.mark.timeout(180)
def test_providers_are_asked_at_the_same_time(
    tmp_path: Path, provider: ListingProvider, other: ListingProvider
) -> None:
    write_models(tmp_path, a=alias_of(provider), b=alias_of(other))
    for each in (provider, other):
        each.listing = Answer((), body=b"{}", gate_after=BEFORE_HEADERS)
    with begun(tmp_path, "check") as process:
        for each in (provider, other):
            each.at_gate.wait_at_least(1, timeout=30)
        for each in (provider, other):
            each.release()
        said, faults = process.communicate(timeout=20)
    assert (process.returncode, said, faults) == (0, b"a: ok\nb: ok\n", b"")


def test_a_provider_that_hangs_is_waited_for_no_longer_than_is_allowed(
    here: Here, tmp_path: Path, provider: ListingProvider
) -> None:
    provider.listing = Answer(stall_after=BEFORE_HEADERS)
    write_models(tmp_path, a=alias_of(provider))
    done = here("check", STARTUP_CHECK_SECONDS="0.2")
    assert done.returncode == 2
    assert done.stderr == "runnel: a: the provider did not answer within 0.2 s\n"


def test_every_fault_of_a_file_is_a_line(here: Here, tmp_path: Path) -> None:
    write_models(
        tmp_path,
        a={"provider": "openai", "api_key": "sk-canary"},
        b={"provider": "builtin", "params": {"temperature": 9}},
    )
    done = here("check")
    assert (done.returncode, done.stdout) == (2, "")
    lines = done.stderr.splitlines()
    assert all(line.startswith("runnel: models.json: aliases.") for line in lines)
    assert [line.split(": ")[2] for line in lines] == [
        "aliases.a.model",
        "aliases.a.api_key",
        "aliases.b.params.temperature",
    ]
    assert "sk-canary" not in done.stderr


@pytest.mark.timeout(180)
def test_nothing_is_made_and_the_process_ends_with_the_code(tmp_path: Path) -> None:
    write_models(tmp_path, a={"provider": "openai", "model": "m", "api_key_env": "LOCAL_KEY"})
    assert said_by(tmp_path, "check").returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["models.json"]
