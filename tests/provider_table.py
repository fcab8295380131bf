"""A server with an alias for each kind of provider, and stand-ins for all of them.

OpenAI itself has its address in the code; here the stand-in's is put in its place.
"""

import json
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

import graphs
from bedrock import CREDENTIALS, Bedrock, as_aws_user, prompt_of
from provider import Answer, Provider
from runnel.models import openai
from serving import LiveServer, forget_environment, settings_for

#: What models.json says of each; the address is put in where it belongs.
PROVIDERS: Final[dict[str, dict[str, str]]] = {
    "openai": {"provider": "openai", "model": "test"},
    "compatible": {"provider": "openai", "model": "test", "base_url": "here"},
    "groq": {"provider": "groq", "model": "test", "base_url": "here"},
    "fireworks_ai": {"provider": "fireworks_ai", "model": "test", "base_url": "here"},
    "bedrock": {"provider": "bedrock", "model": "amazon.nova-micro-v1:0"},
    "langgraph": {"provider": "langgraph", "graph": "graphs:asking"},
}


class StandIns:
    """One of each wire; a prompt chooses the answer."""

    def __init__(self, provider: Provider, bedrock: Bedrock, key: str) -> None:
        self.key = key
        self.openai = provider
        self.bedrock = bedrock
        self._answers: dict[str, Answer] = {}
        self._numbers = count(1)
        provider.answer("test", lambda ask: self._answers[ask["messages"][-1]["content"]])
        bedrock.unless_told = lambda ask: self._answers[prompt_of(ask)]

    def prompt(self, answer: Answer) -> str:
        """A question that gets this answer."""
        prompt = f"question {next(self._numbers)}"
        self._answers[prompt] = answer
        return prompt


class Table:
    """A server with an alias for each provider, and a user of it."""

    def __init__(self, server: LiveServer, stand_ins: StandIns) -> None:
        self._stand_ins = stand_ins
        signed = server.user("ana")
        self.client = httpx.Client(base_url=server.url, headers=signed.headers, timeout=30)

    def question(self, name: str, answer: Answer, **members: Any) -> dict[str, Any]:
        prompt = self._stand_ins.prompt(answer)
        return {"prompt": prompt, "model": f"chat/{name}", **members}

    def ask(
        self, name: str, answer: Answer, *, path: str = "/api/generate", **members: Any
    ) -> httpx.Response:
        """Asks the provider with a prompt that gets the answer; all that came of it."""
        return self.client.post(path, json=self.question(name, answer, **members))

    def provider(self, name: str) -> Provider:
        return self._stand_ins.bedrock if name == "bedrock" else self._stand_ins.openai

    def generation(self, generation_id: str) -> dict[str, Any]:
        return self.client.get(f"/api/generations/{generation_id}").json()

    def kept(self, response: httpx.Response) -> dict[str, Any]:
        """The generation that a response is of."""
        return self.generation(response.headers["X-Generation-Id"])


@contextmanager
def stand_ins_of(key: str) -> Generator[StandIns]:
    """Both; and an environment with this key, in which everyone is asked at them."""
    with pytest.MonkeyPatch.context() as monkeypatch, Provider() as provider, Bedrock() as bedrock:
        forget_environment(monkeypatch)
        as_aws_user(monkeypatch, **CREDENTIALS)
        monkeypatch.setenv(graphs.ADDRESS, provider.url)
        monkeypatch.setenv(graphs.NOWHERE, provider.refused_url())
        for name in ("GROQ_API_KEY", "FIREWORKS_AI_API_KEY"):
            monkeypatch.setenv(name, key)
        yield StandIns(provider, bedrock, key)


@contextmanager
def table(
    migrated: Path,
    folder: Path,
    stand_ins: StandIns,
    *,
    refused: bool = False,
    **changes: Any,
) -> Generator[Table]:
    """A server that asks the stand-ins; or, `refused`, ports where nobody listens."""
    shutil.copy(migrated, folder / "runnel.db")
    openai_url, bedrock_url = (
        each.refused_url() if refused else each.url
        for each in (stand_ins.openai, stand_ins.bedrock)
    )
    in_place = {"base_url": openai_url, "graph": f"graphs:{'deserted' if refused else 'asking'}"}
    aliases = {
        f"chat/{name}": {field: in_place.get(field, value) for field, value in fields.items()}
        for name, fields in PROVIDERS.items()
    }
    (folder / "models.json").write_text(json.dumps({"aliases": aliases}))
    settings = settings_for(
        folder,
        openai_api_key=stand_ins.key,
        aws_region="us-east-1",
        bedrock_endpoint_url=bedrock_url,
        **changes,
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        # By another name: who is asked there is OpenAI itself, and the others are not.
        monkeypatch.setattr(openai, "OPENAI", openai_url.replace("127.0.0.1", "localhost"))
        with LiveServer(settings) as server:
            there = Table(server, stand_ins)
            with there.client:
                yield there
