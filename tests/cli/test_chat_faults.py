"""`runnel chat` where something is wrong: its one line, its exit code, and who answers instead."""

import json
from pathlib import Path
from typing import Any

import pytest
from commands import Here, alias_of, said_by, write_models

from provider import BEFORE_HEADERS, Answer, Provider

#: On a busy machine a process takes long to start.
pytestmark = pytest.mark.timeout(180)
IMPATIENT: dict[str, Any] = {"FIRST_TOKEN_TIMEOUT_SECONDS": "0.3", "IDLE_TIMEOUT_SECONDS": "0.3"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=401), "The provider of a refused the server's API key (HTTP 401)."),
        (Answer(status=500), "The provider of a failed (HTTP 500)."),
        (Answer(stall_after=BEFORE_HEADERS), "The model did not begin to answer."),
    ],
    ids=["wrong key", "fault", "silence"],
)
def test_a_providers_fault_is_one_line_and_exit_code_1(
    tmp_path: Path, provider: Provider, answer: Answer, said: str
) -> None:
    provider.answer("test", answer)
    write_models(tmp_path, a=alias_of(provider))
    done = said_by(tmp_path, "chat", "--user", "Hi", **IMPATIENT)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == f"runnel: {said}\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(["half"], cut_after=1), "The provider of a hung up in mid-answer."),
        (Answer(["half"], stall_after=1), "The model fell silent in mid-answer."),
        (
            Answer(["half"], finish_reason=None),
            "The provider broke off before the answer was whole.",
        ),
    ],
    ids=["cut", "silence", "no end"],
)
def test_what_broke_off_is_shown_as_far_as_it_came_and_is_no_success(
    tmp_path: Path, provider: Provider, answer: Answer, said: str
) -> None:
    provider.answer("test", answer)
    write_models(tmp_path, a=alias_of(provider))
    done = said_by(tmp_path, "chat", "--user", "Hi", "--stream", **IMPATIENT)
    assert (done.returncode, done.stdout) == (1, b"half\n")
    assert done.stderr.decode() == f"runnel: {said}\n"


def test_an_answer_may_not_take_longer_than_is_allowed(tmp_path: Path, provider: Provider) -> None:
    provider.answer("test", Answer(["drop "] * 1000, delay=0.05))
    write_models(tmp_path, a=alias_of(provider))
    done = said_by(tmp_path, "chat", "--user", "Hi", "--stream", GENERATION_TIMEOUT_SECONDS="0.5")
    assert (done.returncode, done.stdout[:10]) == (1, b"drop drop ")
    assert done.stderr == b"runnel: The answer took longer than is allowed.\n"
    provider.client_left.wait_at_least(1)


def test_an_answer_may_not_become_longer_than_is_allowed(
    tmp_path: Path, provider: Provider
) -> None:
    provider.answer("test", Answer(["drop "] * 1000, delay=0.01))
    write_models(tmp_path, a=alias_of(provider))
    done = said_by(tmp_path, "chat", "--user", "Hi", GENERATION_MAX_BYTES="12")
    shown = json.loads(done.stdout)
    assert (shown["text"], shown["finish_reason"]) == ("drop drop dr", "length")
    assert shown["usage"]["source"] == "estimated"
    provider.client_left.wait_at_least(1)


def test_a_provider_that_cannot_be_reached_is_one_line(tmp_path: Path, provider: Provider) -> None:
    write_models(tmp_path, a=alias_of(provider, base_url=provider.refused_url()))
    done = said_by(tmp_path, "chat", "--user", "Hi")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr == b"runnel: The provider of a cannot be reached.\n"


def test_what_the_log_says_of_a_fault_is_shown_where_it_is_wanted(
    tmp_path: Path, provider: Provider
) -> None:
    provider.answer("test", Answer(status=500))
    write_models(tmp_path, a=alias_of(provider))
    done = said_by(tmp_path, "chat", "--user", "Hi", LOG_LEVEL="warning")
    assert b"provider.failed" in done.stderr


@pytest.mark.parametrize("streamed", [(), ("--stream",)])
def test_a_fallback_answers_before_the_first_token(
    tmp_path: Path, provider: Provider, streamed: tuple[str, ...]
) -> None:
    provider.answer("one", Answer(status=503))
    provider.answer("two", Answer(stall_after=0))
    provider.answer("three", Answer(["third"]))
    write_models(
        tmp_path,
        a=alias_of(provider, "one", fallbacks=["b", "c"]),
        b=alias_of(provider, "two", timeout_seconds=0.3),
        c=alias_of(provider, "three"),
    )
    done = said_by(tmp_path, "chat", "--model", "a", "--user", "Hi", *streamed)
    assert (done.returncode, done.stderr) == (0, b"")
    assert [ask.body["model"] for ask in provider.asks] == ["one", "two", "three"]
    provider.client_left.wait_at_least(1)
    if streamed:
        assert done.stdout == b"third\n"
    else:
        shown = json.loads(done.stdout)
        assert (shown["text"], shown["alias"], shown["model"]) == ("third", "c", "three")


def test_a_question_that_was_not_taken_is_asked_again(tmp_path: Path, provider: Provider) -> None:
    provider.answer("test", Answer(status=503), Answer())
    write_models(tmp_path, a=alias_of(provider))
    done = said_by(tmp_path, "chat", "--user", "Hi", UPSTREAM_RETRIES="1")
    assert done.returncode == 0, done.stderr
    assert len(provider.asks) == 2


@pytest.mark.parametrize(
    ("mid_stream", "streamed", "asked"),
    [
        ("restart", (), ["one", "two"]),
        # What was printed cannot be taken back.
        ("restart", ("--stream",), ["one"]),
        ("fail", (), ["one"]),
    ],
)
def test_after_the_first_token_only_what_nobody_has_seen_is_begun_anew(
    tmp_path: Path,
    provider: Provider,
    mid_stream: str,
    streamed: tuple[str, ...],
    asked: list[str],
) -> None:
    provider.answer("one", Answer(["half"], cut_after=1))
    provider.answer("two", Answer(["whole"]))
    write_models(
        tmp_path,
        a=alias_of(provider, "one", fallbacks=["b"], mid_stream=mid_stream),
        b=alias_of(provider, "two"),
    )
    done = said_by(tmp_path, "chat", "--model", "a", "--user", "Hi", *streamed)
    assert done.returncode == (0 if "two" in asked else 1), done.stderr
    assert [ask.body["model"] for ask in provider.asks] == asked
    if done.returncode == 0:
        shown = json.loads(done.stdout)
        assert (shown["text"], shown["alias"]) == ("whole", "b")
        # Of the first, nobody counted.
        assert shown["usage"]["source"] == "estimated"


def test_an_answer_whose_end_was_said_is_whole_however_the_connection_ends(
    tmp_path: Path, provider: Provider
) -> None:
    last = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    provider.answer("test", Answer(["whole", last], stall_after=2))
    write_models(tmp_path, a=alias_of(provider))
    done = said_by(tmp_path, "chat", "--user", "Hi", **IMPATIENT)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == "whole"


USAGE_FAULTS: list[tuple[tuple[str, ...], str]] = [
    (("--user", "Hi", "--model", "zz"), "no model of that name. There are: a, keyless, demo."),
    (("--user", "Hi"), "Name a `model`: a, keyless, demo."),
    (("--user", "Hi", "--model", "keyless"), "the environment variable LOCAL_KEY, which is empty"),
    ((), "--user / --prompt-file: give one of them"),
    (("--user", "Hi", "--prompt-file", "p"), "--user / --prompt-file: give one of them"),
    (("--user", " "), "--user: there is nothing to ask"),
    (("--user", "-"), "--user: there is nothing to ask"),
    (("--prompt-file", "nowhere"), "nowhere cannot be read: No such file or directory"),
    (("--prompt-file", "latin"), "latin is no text in UTF-8"),
    (("--user", "Hi", "--temperature", "3"), "--temperature: Input should be less than"),
    (("--user", "Hi", "--top-p", "0"), "--top-p: Input should be greater than 0"),
    (("--user", "Hi", "--max-tokens", "0"), "--max-tokens: Input should be greater than"),
    (("--user", "Hi", "--stop", ""), "--stop: String should have at least 1 character"),
    (("--user", "Hi", "--seed", "x"), "--seed"),
]


@pytest.mark.parametrize(("arguments", "said"), USAGE_FAULTS)
def test_bad_usage_is_told_and_asks_nobody(
    here: Here, tmp_path: Path, provider: Provider, arguments: tuple[str, ...], said: str
) -> None:
    write_models(
        tmp_path,
        a=alias_of(provider),
        keyless=alias_of(provider, api_key_env="LOCAL_KEY"),
        demo={"provider": "builtin"},
    )
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    done = here("chat", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert provider.requests == []


def test_a_param_that_the_model_does_not_take_is_named(tmp_path: Path) -> None:
    # What can be served as a graph, if nobody asks it.
    (tmp_path / "talking.py").write_text("class graph:\n    async def astream(): ...\n")
    write_models(tmp_path, graph={"provider": "langgraph", "graph": "talking:graph"})
    done = said_by(
        tmp_path, "chat", "--user", "Hi", "--seed", "1", "--top-p", "1", PYTHONPATH=str(tmp_path)
    )
    assert (done.returncode, done.stdout) == (2, b"")
    said = "runnel: graph (langgraph) does not take `seed` and `top_p`.\n"
    assert done.stderr.decode() == said


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("{", "models.json: no valid JSON"),
        ('{"aliases": {"a": {"provider": "openai"}}}', "aliases.a.model: Field required"),
        ('{"default": "b", "aliases": {}}', "models.json: default: there is no alias b"),
    ],
)
@pytest.mark.parametrize("command", [("chat", "--user", "Hi"), ("models",), ("check",)])
def test_a_bad_models_file_is_named_with_alias_and_field(
    here: Here, tmp_path: Path, file: str, said: str, command: tuple[str, ...]
) -> None:
    (tmp_path / "models.json").write_text(file)
    done = here(*command)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("runnel: ")
    assert said in line
