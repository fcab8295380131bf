"""Secrets that sing: `runnel serve` in a process of its own, and every place they must not be."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import httpx
import pytest

from provider import Answer, Provider
from wire import bearer

OPENAI_KEY: Final = "sk-canary-openai-8f31"
LOCAL_KEY: Final = "canary of the local server 2c77"
ADMIN_PASSWORD: Final = "canary-admin-password-91ab"
USER_PASSWORD: Final = "canary-user-password-55de"
NEW_PASSWORD: Final = "canary-new-password-0b1c"
WRONG_PASSWORD: Final = "canary-wrong-password-77aa"
TYPED_AS_NAME: Final = "canary-password-typed-as-a-name-3e"
JWT_SECRET: Final = "canary-jwt-secret-that-is-long-enough-6a1d"
METRICS_TOKEN: Final = "canary-metrics-token-d00f"
IN_URL: Final = "canary-in-a-query-4b4b"
QUESTION: Final = "canary-words-of-a-question-1d1d"
ANSWER: Final = "canary-words-of-an-answer-2e2e"
FORGED: Final = "forged-line"
JSON: Final = {"Content-Type": "application/json"}

#: What the operator set; no answer may hold any of it.
CONFIGURED: Final = (OPENAI_KEY, LOCAL_KEY, ADMIN_PASSWORD, JWT_SECRET, METRICS_TOKEN)
#: What a client sent, and what must never come back to anybody.
SENT: Final = (USER_PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, TYPED_AS_NAME, IN_URL)
STOP_SECONDS: Final = 20


@dataclass
class Served:
    """`runnel serve`, and after its end all that it has written."""

    url: str
    stdout: str = ""
    stderr: str = ""


@contextmanager
def served(folder: Path, provider: Provider, environment: str) -> Generator[Served]:
    local = {"provider": "openai", "model": "local", "base_url": provider.url}
    models = {"aliases": {"chat/local": local | {"api_key_env": "CANARY_LOCAL_KEY"}}}
    (folder / "models.json").write_text(json.dumps(models))
    settings = {
        "PORT": "0",
        "UPSTREAM_RETRIES": "0",
        "ENVIRONMENT": environment,
        "DATA_DIR": str(folder / "data"),
        "MODELS_FILE": str(folder / "models.json"),
        "OPENAI_API_KEY": OPENAI_KEY,
        "OPENAI_BASE_URL": provider.url,
        "MODEL_NAME": "remote",
        "DEFAULT_MODEL": "openai/remote",
        "CANARY_LOCAL_KEY": LOCAL_KEY,
        "ADMIN_PASSWORD": ADMIN_PASSWORD,
        "JWT_SECRET": JWT_SECRET,
        "METRICS_TOKEN": METRICS_TOKEN,
        "REGISTRATION": "open",
        "LOG_LEVEL": "debug",
    }
    # To a file: a pipe that nobody reads would fill and stop the server.
    with (folder / "stderr").open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "runnel", "serve"],
            cwd=folder,
            env=settings | {"PATH": os.environ["PATH"]},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        assert process.stdout is not None
        try:
            seen = _until_it_listens(process.stdout)
            listening = re.search(r"listens on (http://\S+)", seen)
            assert listening, (seen, (folder / "stderr").read_text())
            running = Served(listening[1])
            yield running
        finally:
            process.send_signal(signal.SIGTERM)
            rest, _ = process.communicate(timeout=STOP_SECONDS)
    running.stdout = seen + rest
    running.stderr = (folder / "stderr").read_text()
    assert process.returncode == 0


def _until_it_listens(stdout: IO[str]) -> str:
    seen = ""
    for line in stdout:
        seen += line
        if line.startswith("curl "):
            break
    return seen


@dataclass
class Client:
    """Sends, and keeps every answer with the secrets that it is there to show."""

    http: httpx.Client
    answers: list[tuple[httpx.Response, tuple[str, ...]]] = field(
        default_factory=list[tuple[httpx.Response, tuple[str, ...]]]
    )

    def __call__(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = self.http.request(method, path, **options)
        self.answers.append((answer, ()))
        return answer

    def shows(self, *secrets: str) -> None:
        """Says that the last answer is the one meant to show them."""
        self.answers[-1] = (self.answers[-1][0], secrets)


def a_session(send: Client, provider: Provider) -> list[str]:
    """Successes and failures of all kinds; the secrets that the server has made meanwhile."""
    made: list[str] = []
    credentials = {"username": "ada", "password": USER_PASSWORD}
    assert send("POST", "/register", json=credentials).status_code == 201
    for path, kind in (("/login", "json"), ("/token", "data")):
        pair = send("POST", path, **{kind: credentials}).json()
        send.shows(pair["access_token"], pair["refresh_token"])
        made += (pair["access_token"], pair["refresh_token"])
    pair = send("POST", "/refresh", json={"refresh_token": made[1]}).json()
    send.shows(pair["access_token"], pair["refresh_token"])
    made += (pair["access_token"], pair["refresh_token"])
    me = bearer(pair["access_token"])
    key = send("POST", "/api/keys", json={"name": "laptop"}, headers=me).json()["key"]
    send.shows(key)
    made.append(key)
    _failures_at_the_door(send, made)
    _answers_and_failures_of_the_provider(send, provider, me)
    assert send("GET", "/api/keys", headers=bearer(key)).status_code == 200
    assert send("GET", "/metrics", headers=bearer(METRICS_TOKEN)).status_code == 200
    changed = {"current_password": USER_PASSWORD, "new_password": NEW_PASSWORD}
    assert send("POST", "/me/password", json=changed, headers=me).status_code == 204
    assert send("GET", "/me", headers=me).status_code == 401
    admin = {"username": "admin", "password": ADMIN_PASSWORD}
    token = send("POST", "/login", json=admin).json()
    send.shows(token["access_token"], token["refresh_token"])
    made += (token["access_token"], token["refresh_token"])
    assert send("GET", "/metrics", headers=bearer(token["access_token"])).status_code == 200
    assert send("POST", "/logout", headers=bearer(token["access_token"])).status_code == 204
    return made


def _failures_at_the_door(send: Client, made: list[str]) -> None:
    access, refresh, key = made[0], made[1], made[-1]
    login = {"username": "ada", "password": WRONG_PASSWORD}
    assert send("POST", "/login", json=login).status_code == 401
    assert send("POST", "/login", json=login | {"username": TYPED_AS_NAME}).status_code == 401
    assert send("POST", "/token", data=login).status_code == 401
    assert send("POST", "/register", json=login).status_code == 409
    assert send("POST", "/register", json={"username": "new", "password": "x"}).status_code == 422
    assert send("POST", "/refresh", json={"refresh_token": refresh}).status_code == 409
    for malformed in (
        json.dumps(login)[:-1],
        json.dumps(login | {"more": WRONG_PASSWORD}),
        json.dumps({"username": "ada", "password": [WRONG_PASSWORD]}),
        json.dumps([login]),
        f'"{WRONG_PASSWORD}"',
    ):
        assert send("POST", "/login", content=malformed, headers=JSON).status_code == 422
    for wrong in (f"{access}x", f"{key}x", WRONG_PASSWORD, f"{access} {key}"):
        assert send("GET", "/me", headers=bearer(wrong)).status_code == 401
    assert send("GET", "/me", headers={"Authorization": f"Basic {access}"}).status_code == 401
    for query in (f"token={access}", f"ticket={key}", f"api_key={IN_URL}"):
        for path in ("/me", "/api/generate", "/docs", "/nothing", "/healthz"):
            assert send("GET", f"{path}?{query}").status_code < 500
    for secret in (access, key, METRICS_TOKEN):
        assert send("GET", f"/nothing/{secret}").status_code == 404
    broken = f"\r\n{FORGED}\u2028{FORGED}\x1b[2K"
    forging = {"username": f"ada{broken}", "password": WRONG_PASSWORD}
    assert send("POST", "/login", json=forging).status_code == 401
    for path in (f"/%0d%0a{FORGED}", f"/%0a{{%22event%22:%22{FORGED}%22}}", f"/%E2%80%A8{FORGED}"):
        assert send("GET", path).status_code == 404
        assert send("GET", f"/api/generations{path}", headers=bearer(key)).status_code == 404
    _raw(send.http, f"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\n {FORGED}\r\n\r\n")
    _raw(send.http, f"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\n{FORGED}: x\n\r\n\r\n")
    _raw(send.http, f"GET /\r\n{FORGED} HTTP/1.1\r\nAuthorization: Bearer {access}\r\n\r\n")


def _raw(http: httpx.Client, request: str) -> None:
    """Sends what no client library would, and waits for the answer."""
    with socket.create_connection((http.base_url.host, http.base_url.port or 0), 5) as connection:
        connection.sendall(request.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 ")


def _answers_and_failures_of_the_provider(
    send: Client, provider: Provider, me: dict[str, str]
) -> None:
    for alias, model, key in (
        ("openai/remote", "remote", OPENAI_KEY),
        ("chat/local", "local", LOCAL_KEY),
    ):
        echo = f"Incorrect API key provided: {key}. Header was Authorization: Bearer {key}"
        event = json.dumps({"error": {"message": echo, "code": key}}).encode()
        provider.answer(
            model,
            Answer((ANSWER,)),
            Answer(status=401, error_message=echo, error_code=key, headers={"x-key": key}),
            Answer(status=400, error_message=echo),
            Answer(status=500, body=echo.encode()),
            Answer(status=429, error_message=echo, headers={"retry-after": key}),
            Answer((ANSWER, b"data: " + event + b"\n\n")),
            Answer((b"data: " + key.encode() + b"\n\n",)),
            Answer((ANSWER,), cut_after=1),
        )
        for path, statuses in (
            ("/chat", [200, 502, 502, 502, 429, 502, 502, 502]),
            ("/api/generate", [502, 502]),  # the last answer again
        ):
            for status in statuses:
                body = {"message": QUESTION, "model": alias, "session_id": None}
                answer = send("POST", path, json=body, headers=me)
                # A stream that has begun tells of a fault in a frame.
                assert answer.status_code == (200 if path != "/chat" else status), answer.text
    sent = {request.headers["authorization"] for request in provider.asks}
    assert sent == {f"Bearer {OPENAI_KEY}", f"Bearer {LOCAL_KEY}"}


def found(secrets: tuple[str, ...] | list[str], text: str) -> list[str]:
    return [secret for secret in secrets if secret in text]


@pytest.mark.parametrize("environment", ["production", "development"])
def test_no_secret_gets_out_and_no_line_is_forged(
    tmp_path: Path, provider: Provider, environment: str
) -> None:
    with (
        served(tmp_path, provider, environment) as running,
        httpx.Client(base_url=running.url, timeout=20) as http,
    ):
        send = Client(http)
        made = a_session(send, provider)
    everything = [*CONFIGURED, *SENT, *made]

    for answer, shown in send.answers:
        text = f"{answer.headers}\n{answer.text}"
        assert not [s for s in found(everything, text) if s not in shown], answer.request.url

    for name in ("stderr", "stdout"):
        log = getattr(running, name)
        assert not found([*everything, QUESTION, ANSWER], log)
        assert not [line for line in log.splitlines() if line.lstrip().startswith(FORGED)]
    assert "request" in running.stderr
    assert "login_failed" in running.stderr
    if environment == "production":
        for line in running.stderr.split("\n")[:-1]:
            assert json.loads(line)["event"] != FORGED

    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert [path.name for path in files if path.suffix == ".db"]
    for path in files:
        kept = path.read_bytes()
        assert not [s for s in everything if s.encode() in kept], path.name


def test_a_refused_setting_is_not_repeated(tmp_path: Path) -> None:
    settings = {
        "PATH": os.environ["PATH"],
        "PORT": USER_PASSWORD,
        "JWT_SECRET": JWT_SECRET[:20],
        "DATA_DIR": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "runnel", "serve"],
        cwd=tmp_path,
        env=settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=STOP_SECONDS,
    )
    assert done.returncode == 2
    assert "PORT" in done.stderr
    assert "JWT_SECRET" in done.stderr
    assert not found([USER_PASSWORD, JWT_SECRET[:20]], done.stdout + done.stderr)
