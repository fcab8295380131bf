"""The budget of questions is one for all doors, /v1 among them."""

import openai
import pytest
from openai import OpenAI

from surface import HELLO, MODEL, Surface

SETTINGS = {"rate_limit_messages_per_minute": 2}


def test_who_asks_too_often_is_told_when_to_come_again(v1: Surface, client: OpenAI) -> None:
    assert v1.http.post("/chat", json={"message": "hi"}).status_code == 200
    remaining = v1.post().headers["x-ratelimit-remaining"]
    assert remaining == "0"
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    error = caught.value
    assert (error.code, error.type, error.param) == (
        "rate_limit_exceeded",
        "rate_limit_error",
        None,
    )
    headers = error.response.headers
    assert 0 < int(headers["retry-after"]) <= 60
    assert (headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == ("2", "0")
    assert int(headers["x-ratelimit-reset"]) > 0


def test_to_see_the_models_counts_as_no_question(v1: Surface, client: OpenAI) -> None:
    for _ in range(3):
        assert list(client.models.list())
    assert v1.http.get("/me").json()["limits"]["used"] == 0


def test_what_is_refused_for_its_form_has_counted(v1: Surface) -> None:
    assert v1.post(n=2).headers["x-ratelimit-remaining"] == "1"
