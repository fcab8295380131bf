"""models.json read anew, on SIGHUP and for an admin: a bad file keeps the old one."""

import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from commands import ListingProvider, alias_of, write_models

from processes import COMMAND, Served, environment
from provider import Answer
from serving import LiveServer
from waiting import until
from wire import Serve, problem

#: On a busy machine a server takes long to start.
pytestmark = pytest.mark.timeout(180)


@dataclass(frozen=True)
class Running:
    """A server, and its log."""

    served: Served
    log: Path

    def hang_up(self, told: str) -> None:
        """SIGHUP, until the log tells so of it for one more time."""
        before = self.log.read_text().count(told)
        self.served.signal(signal.SIGHUP)
        until(lambda: self.log.read_text().count(told) > before)

    def aliases(self) -> dict[str, bool]:
        listed = self.served.client.get("/models").json()["models"]
        return {each["alias"]: each["available"] for each in listed}


@pytest.fixture
def running(tmp_path: Path, provider: ListingProvider) -> Iterator[Running]:
    write_models(tmp_path, a=alias_of(provider))
    log = tmp_path / "log"
    with (
        log.open("wb") as stderr,
        subprocess.Popen(
            [*COMMAND, "serve"],
            env=environment(tmp_path),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            served = Served(process)
            with served.client:
                yield Running(served, log)
        finally:
            process.kill()


def test_hanging_up_reads_the_file_anew_and_running_answers_go_on(
    running: Running, tmp_path: Path, provider: ListingProvider
) -> None:
    provider.answer("test", Answer(["Hello", " world"], gate_after=1))
    asked = running.served.post("/chat", model="a", background=True).json()
    provider.at_gate.wait_at_least(1)
    write_models(
        tmp_path,
        b=alias_of(provider, "other"),
        away=alias_of(provider, base_url=provider.refused_url()),
    )
    running.hang_up("models.reloaded")
    # The running server is not strict: what cannot be asked is said.
    assert running.aliases() == {"b": True, "away": False}
    assert running.served.post("/chat", model="b").json()["provider_model"] == "other"
    unknown = running.served.post("/chat", model="a")
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_model")
    provider.release()
    generation_id = asked["generation_id"]
    until(lambda: running.served.generation(generation_id)["status"] == "completed")
    ended = running.served.generation(generation_id)
    assert (ended["model"], ended["text"]) == ("a", "Hello world")


def test_hanging_up_with_a_bad_file_keeps_the_old_one_and_says_why(
    running: Running, tmp_path: Path, provider: ListingProvider
) -> None:
    write_models(tmp_path, b={"provider": "openai", "api_key": "sk-canary"})
    running.hang_up("models.not_reloaded")
    assert running.aliases() == {"a": True}
    assert running.served.post("/chat", model="a").json()["text"] == "Hello world"
    said = running.log.read_text()
    assert "models.json: aliases.b.model: Field required" in said
    assert "sk-canary" not in said
    write_models(tmp_path, c=alias_of(provider))
    running.hang_up("models.reloaded")
    assert running.aliases() == {"c": True}


def reload(server: LiveServer, headers: dict[str, str]) -> httpx.Response:
    return httpx.post(f"{server.url}/api/admin/models/reload", headers=headers, timeout=30)


def write(server: LiveServer, **aliases: Any) -> None:
    server.settings.models_file.write_text(json.dumps({"aliases": aliases}))


@pytest.fixture
def server(serve: Serve, provider: ListingProvider) -> LiveServer:
    return serve(models={"aliases": {"a": alias_of(provider)}})


def test_an_admin_reads_the_file_anew_and_is_told_what_cannot_be_asked(
    server: LiveServer, provider: ListingProvider
) -> None:
    boss = server.user("boss", "admin").headers
    write(
        server,
        b=alias_of(provider, "other"),
        keyless=alias_of(provider, api_key_env="LOCAL_KEY", fallbacks=["b"]),
    )
    answer = reload(server, boss)
    assert answer.status_code == 200, answer.text
    shown = {"provider": "openai", "available": True}
    assert answer.json() == {
        "default": None,
        "models": [
            {"alias": "b", "model": "other", **shown},
            {"alias": "keyless", "model": "test", **shown, "available": False},
        ],
        "faults": ["keyless: needs the environment variable LOCAL_KEY, which is empty"],
    }
    asked = {"message": "?", "model": "keyless"}
    assert httpx.post(f"{server.url}/chat", json=asked, headers=boss).json()["model"] == "b"


def test_a_bad_file_is_refused_with_all_that_is_wrong_and_changes_nothing(
    server: LiveServer, provider: ListingProvider
) -> None:
    boss = server.user("boss", "admin").headers
    write(server, b={"provider": "openai"}, c=alias_of(provider, fallbacks=["zz"]))
    detail = problem(reload(server, boss), 422, "invalid_request", more={"errors"})["detail"]
    assert detail == f"{server.settings.models_file}: aliases.b.model: Field required"
    write(server, c=alias_of(provider, fallbacks=["zz", "c"]))
    detail = problem(reload(server, boss), 422, "invalid_request", more={"errors"})["detail"]
    place = f"{server.settings.models_file}: aliases.c.fallbacks"
    assert detail == (
        f"{place}: there is no alias zz; {place}: an alias cannot stand in for itself"
    )
    listed = httpx.get(f"{server.url}/models").json()["models"]
    assert [each["alias"] for each in listed] == ["a"]
    asked = httpx.post(f"{server.url}/chat", json={"message": "?"}, headers=boss)
    assert asked.json()["text"] == "Hello world"


def test_only_admins_may(server: LiveServer, provider: ListingProvider) -> None:
    write(server, b=alias_of(provider))
    problem(reload(server, server.user("ana").headers), 403, "forbidden")
    problem(reload(server, {}), 401, "unauthorized")
    listed = httpx.get(f"{server.url}/models").json()["models"]
    assert [each["alias"] for each in listed] == ["a"]
