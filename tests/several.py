"""Instances and a stand-in provider that the tests of a module share: a prompt chooses the answer.

with several(folder, count=3) as there:
    asked = there.ask(0, Answer(["one", " two"], gate_after=1))
    async with following(asked.served_by(there.url(1)), DOORS) as readers:
        ...
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from doors import Asked
from instances import Instances, running
from provider import Answer, Provider
from serving import Signed
from standing import Json


@dataclass(frozen=True, slots=True)
class Side:
    """One instance, for what asks or opens at a server."""

    url: str

    def client(self, signed: Signed | None = None, **options: Any) -> httpx.AsyncClient:
        """An HTTP client of it; close it with `async with`."""
        headers = signed.headers if signed else {}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, **options)


class Several:
    """All of them. `user` is one of them all."""

    def __init__(self, instances: Instances, provider: Provider) -> None:
        self.instances = instances
        self.provider = provider
        self.sides = [Side(each.url) for each in instances.every]
        self._answers: dict[str, Answer] = {}
        self._numbers = count(1)
        provider.answer("test", self._answer)
        self.user = self.new_user("ana")

    def url(self, number: int) -> str:
        return self.sides[number].url

    def new_user(self, username: str) -> Signed:
        """A new account, signed in: at one instance registered, at another logged in."""
        password = f"password of {username}"
        body = {"username": username, "password": password}
        first, *_, last = self.sides
        httpx.post(f"{first.url}/register", json=body, timeout=60).raise_for_status()
        return self.login(username, password, last)

    def login(self, username: str, password: str, side: Side) -> Signed:
        """A login of its own."""
        body = {"username": username, "password": password}
        answer = httpx.post(f"{side.url}/login", json=body, timeout=60).raise_for_status()
        return Signed(username, password, answer.json()["access_token"])

    def prompt(self, answer: Answer) -> str:
        """A question that gets this answer, and that nobody else asks."""
        prompt = f"question {next(self._numbers)}"
        self._answers[prompt] = answer
        return prompt

    def asks(self, prompt: str) -> int:
        """How often the provider was asked it."""
        asks = self.provider.asks
        return [ask.body["messages"][-1]["content"] for ask in asks].count(prompt)

    def asked(self, number: int, question: Json, key: str, generation: Json) -> Asked:
        """How every door of an instance leads to an answer."""
        named = {"generation_id": generation["generation_id"]}
        ticket = self.call(number, "POST", "/api/tickets", named).json()["ticket"]
        return Asked(
            url=self.sides[number].url,
            authorization=f"Bearer {self.user.token}",
            question=question,
            key=key,
            generation_id=generation["generation_id"],
            session_id=generation["session_id"],
            ticket=ticket,
        )

    def call(
        self,
        number: int,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        user: Signed | None = None,
        **params: Any,
    ) -> httpx.Response:
        """Any request at an instance."""
        headers = (user or self.user).headers
        url = self.sides[number].url + path
        return httpx.request(
            method, url, json=body, params=params or None, headers=headers, timeout=60
        )

    def generation(self, number: int, generation_id: str) -> Json:
        """What an instance shows of a generation."""
        found = self.call(number, "GET", f"/api/generations/{generation_id}")
        assert found.status_code == 200, found.text
        return found.json()

    def live(self, number: int, user: Signed | None = None) -> list[Json]:
        """What is being made for a user, as an instance shows it."""
        page = self.call(number, "GET", "/api/generations", user=user, status="running").json()
        return page["generations"]

    def _answer(self, ask: Json) -> Answer:
        return self._answers[ask["messages"][-1]["content"]]


@contextmanager
def several(folder: Path, *, count: int = 3, **settings: Any) -> Generator[Several]:
    """Inside, they run."""
    with (
        Provider() as provider,
        running(folder, provider, count=count, REGISTRATION="open", **settings) as instances,
    ):
        yield Several(instances, provider)
