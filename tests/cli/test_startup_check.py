"""What `runnel serve` asks before it starts: strict, warn, off."""

import socket
from pathlib import Path

import httpx
import pytest
from commands import ListingProvider, alias_of, begun, said_by, write_models

from processes import starting
from provider import BEFORE_HEADERS, Answer
from runnel.models import catalog
from waiting import until
from wire import Serve, problem

#: On a busy machine a server takes long to start.
pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def refuses(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_strict_ends_with_a_line_a_fault_before_the_port_is_opened(
    tmp_path: Path, provider: ListingProvider, port: int
) -> None:
    provider.listing = Answer((), body=b"{}", gate_after=BEFORE_HEADERS)
    refused = provider.refused_url()
    write_models(
        tmp_path,
        hangs=alias_of(provider),
        away=alias_of(provider, base_url=refused),
        keyless=alias_of(provider, api_key_env="LOCAL_KEY"),
    )
    with begun(tmp_path, "serve", PORT=str(port), STARTUP_CHECK_SECONDS="1") as process:
        provider.at_gate.wait_at_least(1, timeout=30)
        assert refuses(port)
        _, faults = process.communicate(timeout=30)
    assert process.returncode == 2
    assert refuses(port)
    # Each once, and nothing else.
    assert faults.decode().splitlines() == [
        "runnel: keyless: needs the environment variable LOCAL_KEY, which is empty",
        "runnel: hangs: the provider did not answer within 1 s",
        f"runnel: away: the provider cannot be reached at {refused}/models (ConnectError)",
    ]


def test_a_start_that_failed_has_made_nothing_so_that_no_password_is_lost(
    tmp_path: Path, provider: ListingProvider
) -> None:
    provider.listing = Answer(status=401)
    write_models(tmp_path, a=alias_of(provider))
    assert said_by(tmp_path, "serve").returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["models.json"]
    provider.listing = Answer((), body=b"{}")
    with begun(tmp_path, "serve", PYTHONUNBUFFERED="1") as process:
        assert process.stdout is not None
        told = next(line for line in process.stdout if b"Admin" in line)
    assert b"(shown this once)" in told


def test_strict_starts_where_all_answer(tmp_path: Path, provider: ListingProvider) -> None:
    write_models(tmp_path, a=alias_of(provider))
    with starting(tmp_path) as start:
        assert start().post("/chat").json()["text"] == "Hello world"
    assert len(provider.listings) == 1


def test_warn_serves_the_rest_and_their_fallbacks(
    tmp_path: Path, provider: ListingProvider
) -> None:
    away = provider.refused_url()
    write_models(
        tmp_path,
        good=alias_of(provider),
        bad=alias_of(provider, base_url=away),
        covered=alias_of(provider, base_url=away, fallbacks=["bad", "good"]),
    )
    with starting(tmp_path) as start:
        served = start(STARTUP_CHECK="warn")
        listed = served.client.get("/models").json()["models"]
        assert {each["alias"]: each["available"] for each in listed} == {
            "good": True,
            "bad": False,
            "covered": False,
        }
        refused = served.post("/chat", model="bad")
        assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
        assert "bad cannot be asked just now" in refused.json()["detail"]
        assert int(refused.headers["Retry-After"]) >= 1
        answer = served.post("/chat", model="covered")
        assert (answer.status_code, answer.json()["model"]) == (200, "good")


def test_off_asks_nobody(tmp_path: Path, provider: ListingProvider) -> None:
    provider.listing = Answer(status=401)
    write_models(
        tmp_path,
        default="a",
        a=alias_of(provider),
        keyless=alias_of(provider, api_key_env="LOCAL_KEY"),
    )
    with starting(tmp_path) as start:
        served = start(STARTUP_CHECK="off")
        assert served.post("/chat").status_code == 200
        [a, keyless] = served.client.get("/models").json()["models"]
        assert (a["available"], keyless["available"]) == (True, False)
        refused = served.post("/chat", model="keyless")
        assert (refused.status_code, refused.json()["code"]) == (503, "model_unavailable")
        assert "LOCAL_KEY" in refused.json()["detail"]
    assert provider.listings == []


def test_a_model_comes_back_when_its_provider_does(
    serve: Serve, provider: ListingProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "_RECHECK_SECONDS", 0.05)
    provider.listing = Answer(status=500)
    server = serve(models={"aliases": {"a": alias_of(provider)}}, startup_check="warn")
    headers = server.user("ana").headers
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:

        def available() -> bool:
            return client.get("/models").json()["models"][0]["available"]

        refused = client.post("/chat", json={"message": "?"})
        problem(refused, 503, "model_unavailable")
        asked = len(provider.listings)
        until(lambda: len(provider.listings) > asked)
        assert not available()
        provider.listing = Answer((), body=b"{}")
        until(available)
        assert client.post("/chat", json={"message": "?"}).json()["text"] == "Hello world"
