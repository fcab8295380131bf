"""A stand-in for AWS Bedrock Runtime: ConverseStream over real HTTP/1.1, as `provider` is for OpenAI.

As a program (`apart`) it stands in a process of its own, and takes no time from who is measured.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from bedrock_wire import ConverseVoice, unsigned
from provider import Gauge, Provider
from provider_script import Answer, Request, Voice

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    import pytest

    from provider_script import JsonObject, Script

_PATH: Final = re.compile(r"/model/([^/]+)/converse-stream")
#: Signature version 4: whose key, for which day, region and service; which headers; and the sum.
_SIGNED: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/([\w-]+)/bedrock/aws4_request,"
    r" SignedHeaders=[\w;-]*host[\w;-]*, Signature=[0-9a-f]{64}"
)
#: Credentials that it takes; it checks the form of a signature, not the sum.
CREDENTIALS: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": "AKIDSTANDIN",
    "AWS_SECRET_ACCESS_KEY": "secret-of-the-stand-in",
}


class Bedrock(Provider):
    """The stand-in. Scripts, places, gauges and the gate are the other stand-in's."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = Gauge("questions received")
        self.unless_told: Script = Answer()  # what models say that nobody spoke of
        self._said = count(1)

    @property
    def url(self) -> str:
        """What BEDROCK_ENDPOINT_URL is to be."""
        return super().url.removesuffix("/v1")

    def refused_url(self) -> str:
        return super().refused_url().removesuffix("/v1")

    @property
    def asks(self) -> list[Request]:
        return [request for request in self.requests if model_of(request)]

    def wait_for_request(self, timeout: float = 5.0, *, number: int = 1) -> Request:
        self.asked.wait_at_least(number, timeout)
        return self.asks[number - 1]

    def _record(self, request: Request) -> None:
        super()._record(request)
        if model_of(request):
            self.asked.add(1)

    def _voice(self, request: Request) -> Voice:
        model = model_of(request)
        if model is None:
            return ConverseVoice(Answer((), status=404), {})
        if region_of(request) is None:
            return ConverseVoice(unsigned(), {})
        with self._lock:
            scripts = self._scripts.get(model) or deque([self.unless_told])
            script = scripts.popleft() if len(scripts) > 1 else scripts[0]
        answer = script if isinstance(script, Answer) else script(request.body)
        return ConverseVoice(answer, request.body, next(self._said))


def model_of(request: Request) -> str | None:
    """The model that is asked, if any is."""
    found = _PATH.fullmatch(request.path)
    return unquote(found[1]) if found and request.method == "POST" else None


def region_of(request: Request) -> str | None:
    """The region that a request is signed for; None if it is not signed as it has to be."""
    found = _SIGNED.fullmatch(request.headers.get("authorization", ""))
    return found[2] if found and "x-amz-date" in request.headers else None


def as_aws_user(monkeypatch: pytest.MonkeyPatch, **credentials: str) -> None:
    """What boto3 finds on a machine with nothing but these credentials."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)


def prompt_of(ask: Mapping[str, Any]) -> str:
    """The text of the last message."""
    return "".join(block.get("text", "") for block in ask["messages"][-1]["content"])


@contextmanager
def apart() -> Generator[str]:
    """The address of a stand-in in its own process, which `counts`."""
    command = [sys.executable, __file__]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()  # it ends with its input


def counts(ask: JsonObject) -> Answer:
    """As many pieces as the prompt says, one each 100 ms."""
    return Answer([f"piece {number} " for number in range(int(prompt_of(ask)))], delay=0.1)


def main() -> None:
    with Bedrock() as standing:
        standing.unless_told = counts
        print(standing.url, flush=True)  # noqa: T201 - for whoever started it
        sys.stdin.read()


if __name__ == "__main__":
    main()
