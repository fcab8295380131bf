"""Models of Bedrock's stand-in, as the tests of `models` ask them."""

import asyncio
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Final

import pytest

from bedrock import CREDENTIALS, Bedrock, as_aws_user
from entries import entry
from provider import Script
from runnel.chat.entities import Turn
from runnel.models.bedrock import TAKES, BedrockFamily
from runnel.models.langchain import LangChainModel
from saying import said

MODEL: Final = "amazon.nova-micro-v1:0"
CLAUDE: Final = "us.anthropic.claude-3-5-haiku-20241022-v1:0"
ALIAS: Final = "chat/nova"
REGION: Final = "eu-central-1"


class Account:
    """The stand-in, and the family of models that asks it."""

    def __init__(self, provider: Bedrock, family: BedrockFamily) -> None:
        self.provider = provider
        self.family = family

    def model(self, name: str = MODEL, *answers: Script) -> LangChainModel:
        """A model, and what it says."""
        if answers:
            self.provider.answer(name, *answers)
        alias = entry(ALIAS, provider="bedrock", model=name, takes=TAKES)
        return self.family.build(alias, region=None, profile=None)


@contextmanager
def account(*, most_streams: int = 8, url: str | None = None) -> Generator[Account]:
    """`url` is the endpoint, if it is not the stand-in's own."""
    with pytest.MonkeyPatch.context() as monkeypatch, Bedrock() as provider:
        as_aws_user(monkeypatch, **CREDENTIALS)
        family = BedrockFamily(
            region=REGION, endpoint_url=url or provider.url, most_streams=most_streams
        )
        with closing(family):
            yield Account(provider, family)


async def seconds_of(streams: int, chunks: int, model: LangChainModel) -> float:
    """How long so many answers take that a stand-in counts, asked for at once."""
    began = time.perf_counter()
    answers = await asyncio.gather(
        *(said(model, [Turn("user", str(chunks))]) for _ in range(streams))
    )
    seconds = time.perf_counter() - began
    assert all(len(answer.texts) == chunks for answer in answers)
    return seconds
