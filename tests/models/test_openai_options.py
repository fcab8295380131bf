"""Our params as what OpenAI's wire and its likes take."""

from runnel.chat.entities import Params
from runnel.models.openai import _compatible_options, _openai_options, _seconds

ALL = Params(temperature=0.5, top_p=0.9, max_tokens=7, seed=1, stop=["a"], json_mode=True)


def test_openai_itself_is_asked_by_its_present_names() -> None:
    assert _openai_options(ALL) == {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 1,
        "stop": ["a"],
        "max_completion_tokens": 7,
        "extra_body": {"response_format": {"type": "json_object"}},
    }


def test_servers_like_it_are_asked_by_the_older_name() -> None:
    assert _compatible_options(ALL)["extra_body"] == {
        "response_format": {"type": "json_object"},
        "max_tokens": 7,
    }
    assert "max_completion_tokens" not in _compatible_options(ALL)


def test_what_is_not_given_is_not_sent() -> None:
    assert _openai_options(Params()) == _compatible_options(Params()) == {}


def test_a_retry_after_in_seconds_is_read_and_a_date_is_not() -> None:
    assert _seconds("2.5") == 2.5
    assert _seconds("-1") == 0
    assert _seconds("Wed, 21 Oct 2026 07:28:00 GMT") is None
    assert _seconds(None) is None
