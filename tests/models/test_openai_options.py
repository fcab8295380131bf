"""Our params as what OpenAI's wire and its likes take."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata

from runnel.chat.entities import Params
from runnel.events import Usage
from runnel.models.openai import (
    OPENAI,
    OpenAIFamily,
    _compatible_options,
    _openai_options,
    _seconds,
)
from runnel.models.pieces import Pieces

ALL = Params(temperature=0.5, top_p=0.9, max_tokens=7, seed=1, stop=["a"], json_mode=True)


def test_openai_itself_is_asked_by_its_present_names() -> None:
    assert _openai_options(ALL) == {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 1,
        "stop": ["a"],
        "extra_body": {
            "max_completion_tokens": 7,
            "response_format": {"type": "json_object"},
        },
    }


def test_servers_like_it_are_asked_by_the_older_name() -> None:
    assert _compatible_options(ALL)["extra_body"] == {
        "response_format": {"type": "json_object"},
        "max_tokens": 7,
    }


def test_what_is_not_given_is_not_sent() -> None:
    assert _openai_options(Params()) == _compatible_options(Params()) == {}


@pytest.mark.parametrize("elsewhere", ["", "http://10.0.0.1/v1"])
async def test_openai_is_asked_at_its_own_address_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, elsewhere: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", elsewhere)
    monkeypatch.setenv("OPENAI_API_BASE", elsewhere)
    family = OpenAIFamily(direct=True)
    client = cast("Any", family.chat_model("m", OPENAI, "k")).root_async_client
    assert str(client.base_url) == "https://api.openai.com/v1/"
    await family.close()


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        ((10, 5), Usage(10, 5, "provider")),
        ((0, 5), Usage(0, 5, "provider")),
        ((0, 0), None),
        ((-5, 1), None),
        ((10**30, 1), None),
    ],
)
def test_a_count_that_is_none_is_left_to_the_estimate(
    given: tuple[int, int], usage: Usage | None
) -> None:
    metadata = UsageMetadata(input_tokens=given[0], output_tokens=given[1], total_tokens=sum(given))
    assert Pieces().piece(AIMessageChunk(content="", usage_metadata=metadata)).usage == usage


@pytest.mark.parametrize(
    ("word", "reason"),
    [("stop", "stop"), ("eos", "stop"), ("max_tokens", "length"), ("error", None), ("", None)],
)
def test_providers_words_for_an_end_are_ours_and_a_fault_is_no_end(
    word: str, reason: str | None
) -> None:
    chunk = AIMessageChunk(content="", response_metadata={"finish_reason": word})
    assert Pieces().piece(chunk).finish_reason == reason


def test_a_retry_after_is_read_in_seconds_and_as_a_date() -> None:
    assert _seconds("2.5") == 2.5
    assert _seconds("-1") == 0
    assert _seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (_seconds(in_a_minute) or 0) <= 60
    for unreadable in ("soon", "nan", "inf", "", None):
        assert _seconds(unreadable) is None
