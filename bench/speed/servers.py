"""The servers that are compared: how each is started, and how it is asked for an answer."""

import json
import re
import socket
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from bench.speed import wire
from bench.speed.load import Ask
from bench.speed.processes import (
    SERVER_CORE,
    TOOLS_CORE,
    Process,
    free_port,
    python,
    running,
    wait_for,
)

#: All that any workload asks for: Runnel's aliases have to be named beforehand.
ANSWERS: Final = {
    name: wire.Answer(tokens, rate)
    for name, (tokens, rate) in {
        "S": (500, 0),
        "P": (100, 50),
        "M": (300, 30),
        "R": (600, 2),
        "short": (1_000, 0),
        "long": (32_000, 0),
        "one": (1, 0),
    }.items()
}
MESSAGE: Final = "Tell me about the sea, and why it is salt."
_LITELLM: Final = Path(__file__).parents[2] / ".venv/peers/bin/litellm"
_LITELLM_CONFIG: Final = Path(__file__).parent / "references/litellm.yaml"
_LITELLM_KEY: Final = "sk-only-for-the-bench-0123456789abcdef"
#: On, and never reached.
_LIMITS: Final = {
    "RATE_LIMIT_MESSAGES_PER_MINUTE": "1000000",
    "WEBSOCKET_MAX_CONNECTIONS": "10000",
    "WEBSOCKET_MAX_CONNECTIONS_PER_USER": "10000",
}


@dataclass(frozen=True, slots=True)
class Provider:
    """The stand-in, on the tools' core."""

    process: Process
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def finish(self) -> None:
        """It ends what it is saying. Blocks no longer than it takes to say so."""
        with socket.create_connection(("127.0.0.1", self.port)) as sock:
            sock.send(b"GET /finish HTTP/1.1\r\nHost: provider\r\nConnection: close\r\n\r\n")
            sock.recv(1024)


@dataclass(frozen=True, slots=True)
class Server:
    """One that is measured."""

    name: str
    port: int
    process: Process
    path: str
    token: str = ""
    #: What the field with the question is called, and what stands before the model's name.
    field: str = "message"
    prefix: str = ""

    def ask(self, answer: wire.Answer) -> Ask:
        request = post(self.port, self.path, self.body(answer), self.token)
        return Ask(self.port, lambda: request)

    def body(self, answer: wire.Answer) -> dict[str, Any]:
        return {self.field: MESSAGE, "model": self.prefix + answer.model}


def openai_body(answer: wire.Answer) -> dict[str, Any]:
    messages = [{"role": "user", "content": MESSAGE}]
    usage = {"include_usage": True}
    return {"model": answer.model, "messages": messages, "stream": True, "stream_options": usage}


class OpenAIServer(Server):
    """One that is asked in OpenAI's own words."""

    __slots__ = ()

    def body(self, answer: wire.Answer) -> dict[str, Any]:
        return openai_body(answer)


def head(method: str, port: int, path: str, token: str, *more: str) -> bytes:
    """A request's head."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *more]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode()


def post(
    port: int, path: str, body: dict[str, Any], token: str = "", *, keep: bool = False
) -> bytes:
    data = json.dumps(body).encode()
    connection = f"Connection: {'keep-alive' if keep else 'close'}"
    about = ("Content-Type: application/json", f"Content-Length: {len(data)}", connection)
    return head("POST", port, path, token, *about) + data


def chat(server: Server, *, stream: bool) -> bytes:
    """A question to Runnel's `/chat` for one token, over a connection that is kept."""
    model = server.prefix + ANSWERS["one"].model
    body = {"message": MESSAGE, "model": model, "stream": stream}
    return post(server.port, "/chat", body, server.token, keep=True)


@contextmanager
def provider() -> Generator[Provider]:
    with (
        TemporaryDirectory(prefix="runnel-bench-") as folder,
        running(python("bench.speed.provider"), TOOLS_CORE, Path(folder)) as process,
    ):
        yield Provider(process, int(process.line()))


@contextmanager
def runnel(upstream: Provider, **environment: str) -> Generator[Server]:
    """`runnel serve` with all that it does: accounts, limits, storage, checkpoints."""
    with TemporaryDirectory(prefix="runnel-bench-") as name:
        folder = Path(name)
        aliases = {
            f"bench/{answer.model}": {
                "provider": "openai",
                "model": answer.model,
                "base_url": upstream.url,
            }
            for answer in ANSWERS.values()
        }
        (folder / "models.json").write_text(json.dumps({"aliases": aliases}))
        settings = _LIMITS | {
            "DATA_DIR": str(folder / "data"),
            "MODELS_FILE": str(folder / "models.json"),
            "PORT": "0",
            "STARTUP_CHECK": "off",
            "ACCESS_TOKEN_MINUTES": "600",
        }
        command = python("runnel", "serve")
        with running(command, SERVER_CORE, folder, **settings | environment) as process:
            banner = ""
            while not (token := re.search(r'Bearer (\S+)"', banner)):
                banner += process.line()
            port = re.search(r"listens on http://[^:]+:(\d+)", banner)
            assert port
            yield Server(
                "runnel",
                int(port[1]),
                process,
                "/api/generate",
                token[1],
                field="prompt",
                prefix="bench/",
            )


@contextmanager
def passthrough(upstream: Provider) -> Generator[Server]:
    with _reference("passthrough", upstream.url) as (port, process):
        yield OpenAIServer("passthrough", port, process, "/chat")


@contextmanager
def tutorial(upstream: Provider) -> Generator[Server]:
    with _reference("tutorial", upstream.url) as (port, process):
        yield Server("tutorial", port, process, "/chat")


@contextmanager
def litellm(upstream: Provider) -> Generator[Server]:
    """LiteLLM's proxy, from the venv that `make bench-peers` has made."""
    port = free_port()
    command = [str(_LITELLM), "--config", str(_LITELLM_CONFIG), "--host", "127.0.0.1"]
    settings = {
        "PROVIDER_URL": upstream.url,
        "LITELLM_MASTER_KEY": _LITELLM_KEY,
        # The prices that came with it: it would ask the net for newer ones.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    with (
        TemporaryDirectory(prefix="runnel-bench-") as folder,
        running([*command, "--port", str(port)], SERVER_CORE, Path(folder), **settings) as process,
    ):
        wait_for(port, process)
        yield OpenAIServer("litellm", port, process, "/v1/chat/completions", _LITELLM_KEY)


def litellm_is_installed() -> bool:
    return _LITELLM.exists()


@contextmanager
def bare() -> Generator[Server]:
    """FastAPI and SQLAlchemy alone."""
    with _reference("bare", "bare.db") as (port, process):
        yield Server("bare", port, process, "/chat")


@contextmanager
def direct(upstream: Provider) -> Generator[Server]:
    """The stand-in itself, with nothing between."""
    yield OpenAIServer("direct", upstream.port, upstream.process, "/v1/chat/completions")


@contextmanager
def _reference(name: str, *arguments: str) -> Generator[tuple[int, Process]]:
    port = free_port()
    command = python(f"bench.speed.references.{name}", str(port), *arguments)
    with (
        TemporaryDirectory(prefix="runnel-bench-") as folder,
        running(command, SERVER_CORE, Path(folder)) as process,
    ):
        wait_for(port, process)
        yield port, process


SERVERS: Final[dict[str, Callable[[Provider], AbstractContextManager[Server]]]] = {
    "runnel": runnel,
    "passthrough": passthrough,
    "tutorial": tutorial,
    "litellm": litellm,
}
