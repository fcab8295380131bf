"""What the tests of /v1 share: the official client of a real server, and what there is to ask it."""

import json
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx
from openai import AsyncOpenAI, OpenAI

from provider import Provider, Request
from reading import DONE
from serving import LiveServer, Signed
from waiting import until
from wire import query, settle

Json = dict[str, Any]
MODEL: Final = "chat/test"
HELLO: Final[list[Any]] = [{"role": "user", "content": "Hello?"}]
COMPLETIONS: Final = "/v1/chat/completions"
WEATHER: Final[Any] = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}},
            "required": ["place"],
        },
        "strict": True,
    },
}


def aliases_of(provider: Provider) -> Json:
    """`chat/test` asks the stand-in; the others say by their names what is the matter with them."""
    asked = {"provider": "openai", "base_url": provider.url}
    return {
        "default": MODEL,
        "aliases": {
            MODEL: {**asked, "model": "test"},
            "chat/other": {**asked, "model": "other", "price": {"input": 1, "output": 2}},
            "chat/passing-on": {**asked, "model": "test", "fallbacks": ["chat/other"]},
            "chat/restarting": {
                **asked,
                "model": "test",
                "fallbacks": ["chat/other"],
                "mid_stream": "restart",
            },
            "chat/keyless": {"provider": "openai", "model": "gpt", "api_key_env": "NOBODY_HAS_IT"},
            "chat/in-json": {**asked, "model": "test", "params": {"json_mode": True}},
            "chat/demo": {"provider": "builtin"},
        },
    }


@dataclass
class Surface:
    """One user's view: the official client, a plain one, and the provider behind it all."""

    server: LiveServer
    provider: Provider
    user: Signed
    client: OpenAI = field(init=False)
    http: httpx.Client = field(init=False)

    def __enter__(self) -> Self:
        self.client = self.signed_in(self.user.token)
        self.http = httpx.Client(base_url=self.server.url, headers=self.user.headers, timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.http.close()

    @property
    def base_url(self) -> str:
        return f"{self.server.url}/v1"

    def signed_in(self, key: str, *, max_retries: int = 0) -> OpenAI:
        """The official client, with somebody's key."""
        return OpenAI(base_url=self.base_url, api_key=key, max_retries=max_retries)

    def asynchronous(self) -> AsyncOpenAI:
        return AsyncOpenAI(base_url=self.base_url, api_key=self.user.token, max_retries=0)

    def post(self, **members: Any) -> httpx.Response:
        """A question as plain JSON; its answer, wholly read, whatever its status."""
        return self.http.post(COMPLETIONS, json={"model": MODEL, "messages": HELLO} | members)

    @property
    def user_id(self) -> str:
        return str(self.http.get("/me").raise_for_status().json()["id"])

    @property
    def asked(self) -> Request:
        """What the provider was asked last."""
        return self.provider.asks[-1]

    def settle(self) -> None:
        """Waits until every answer that is being made has ended and is stored."""
        settle(self.server)

    def ended(self) -> tuple[Any, ...]:
        """Of this user's last answer: status, text, who aborted it, and the failure's code."""
        until(lambda: self._last()[0] not in ("queued", "running"))
        return self._last()

    def _last(self) -> tuple[Any, ...]:
        [row] = query(
            self.server,
            "SELECT status, content, aborted_by, error_code FROM generations g"
            " JOIN messages m ON m.id = g.message_id WHERE g.id ="
            " (SELECT max(id) FROM generations WHERE user_id = ?)",
            self.user_id,
        )
        return row


def chunks_of(body: bytes) -> list[Json]:
    """The chunks of a stream whose last frame must be `[DONE]`; comments are passed over."""
    frames = [frame for frame in body.split(b"\n\n") if frame and not frame.startswith(b":")]
    assert all(frame.startswith(b"data: ") and b"\n" not in frame for frame in frames), body
    *chunks, done = [frame.removeprefix(b"data: ") for frame in frames]
    assert done.decode() == DONE
    return [json.loads(chunk) for chunk in chunks]


def text_of(chunks: list[Json]) -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.get("choices", ())]
    return "".join(delta.get("content") or "" for delta in deltas)
