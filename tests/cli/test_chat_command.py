"""`runnel chat`: what it sends, and what it prints where."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from commands import alias_of, begun, on_terminal, said_by, write_models

from provider import Answer, Provider

#: On a busy machine a process takes long to start.
pytestmark = pytest.mark.timeout(180)
EVERY_PARAM = (
    *("--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "7", "--seed", "42"),
    *("--stop", "END", "--stop", "STOP", "--json-mode"),
)


def answer_of(stdout: bytes) -> dict[str, Any]:
    """The JSON that was printed, its times apart."""
    shown = json.loads(stdout)
    latency, first = shown.pop("latency_ms"), shown.pop("first_token_ms")
    assert 0 < first <= latency
    return shown


def test_it_prints_the_answer_and_what_it_took_as_json(tmp_path: Path, provider: Provider) -> None:
    price = {"input": 1, "output": 2}
    write_models(tmp_path, chat__test=alias_of(provider, price=price))
    done = said_by(tmp_path, "chat", "--model", "chat/test", "--user", "Hi")
    assert (done.returncode, done.stderr) == (0, b"")
    assert answer_of(done.stdout) == {
        "text": "Hello world",
        "alias": "chat/test",
        "provider": "openai",
        "model": "test",
        "finish_reason": "stop",
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "source": "provider",
            "cost": pytest.approx(20 / 1_000_000),
        },
    }
    [ask] = provider.asks
    assert ask.body["messages"] == [{"role": "user", "content": "Hi"}]
    # Neither a database nor anything else is made.
    assert [path.name for path in tmp_path.iterdir()] == ["models.json"]


def test_every_option_reaches_the_provider(tmp_path: Path, provider: Provider) -> None:
    alias = alias_of(provider, system_prompt="the alias' own", params={"temperature": 1.5})
    write_models(tmp_path, chat__test=alias)
    done = said_by(tmp_path, "chat", "--user", "Hi", "--system", "Be brief.", *EVERY_PARAM)
    assert done.returncode == 0, done.stderr
    [ask] = provider.asks
    assert ask.body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
    sent = {name: ask.body[name] for name in ("temperature", "top_p", "max_tokens", "seed")}
    assert sent == {"temperature": 0.5, "top_p": 0.9, "max_tokens": 7, "seed": 42}
    assert ask.body["stop"] == ["END", "STOP"]
    assert ask.body["response_format"] == {"type": "json_object"}


def test_what_is_left_open_is_as_the_alias_and_the_environment_say(
    tmp_path: Path, provider: Provider
) -> None:
    write_models(tmp_path, chat__test=alias_of(provider, params={"seed": 7}))
    done = said_by(tmp_path, "chat", "--user", "Hi", SYSTEM_PROMPT="Be kind.", TEMPERATURE="0.2")
    assert done.returncode == 0, done.stderr
    [ask] = provider.asks
    assert ask.body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert (ask.body["temperature"], ask.body["seed"]) == (0.2, 7)
    assert "max_tokens" not in ask.body


def test_without_a_model_the_default_is_asked_with_what_stands_on_standard_input(
    tmp_path: Path, provider: Provider
) -> None:
    write_models(tmp_path, default="b", a=alias_of(provider, "one"), b=alias_of(provider, "two"))
    prompt = "Olá 世界\r\nand more\n".encode()
    for arguments in (("--user", "-"), ("--prompt-file", "-")):
        done = said_by(tmp_path, "chat", *arguments, given=prompt)
        assert json.loads(done.stdout)["alias"] == "b", done.stderr
    assert [ask.body["messages"][-1]["content"] for ask in provider.asks] == [
        "Olá 世界\nand more"
    ] * 2


def test_a_prompt_may_come_from_a_file(tmp_path: Path, provider: Provider) -> None:
    write_models(tmp_path, chat__test=alias_of(provider))
    (tmp_path / "prompt.txt").write_bytes("\ufeffCount.\r\nTwice.\n".encode())
    done = said_by(tmp_path, "chat", "--prompt-file", "prompt.txt")
    assert done.returncode == 0, done.stderr
    assert provider.asks[0].body["messages"][-1]["content"] == "Count.\nTwice."


def test_usage_that_the_provider_does_not_tell_is_estimated_and_the_text_is_clean(
    tmp_path: Path, provider: Provider
) -> None:
    provider.answer(
        "test", Answer(["one\r", "\ntwo\0", "\ud83d", "\ude00"], usage=None, escape=True)
    )
    write_models(tmp_path, chat__test=alias_of(provider))
    done = said_by(tmp_path, "chat", "--user", "Hi")
    shown = json.loads(done.stdout)
    assert shown["text"] == "one\ntwo\ufffd😀"
    assert shown["usage"]["source"] == "estimated"
    assert shown["usage"]["completion_tokens"] > 0


def test_in_a_pipe_the_text_comes_piece_by_piece_and_as_it_is(
    tmp_path: Path, provider: Provider
) -> None:
    provider.answer("test", Answer(["Olá", " [bold]\x1b[31m", "!"], gate_after=1))
    write_models(tmp_path, chat__test=alias_of(provider))
    with begun(tmp_path, "chat", "--user", "Hi", "--stream") as process:
        assert process.stdout is not None
        first = "Olá".encode()
        # While the provider waits.
        assert process.stdout.read(len(first)) == first
        provider.release()
        rest, faults = process.communicate(timeout=20)
    assert (process.returncode, rest, faults) == (0, b" [bold]\x1b[31m!\n", b"")


def test_on_a_terminal_the_text_cannot_drive_it_and_what_it_took_follows(
    tmp_path: Path, provider: Provider
) -> None:
    provider.answer("test", Answer(["**Olá** [bold]", "\x1b[31m\n", "!"], gate_after=0))
    write_models(tmp_path, chat__test=alias_of(provider, price={"input": 1, "output": 2}))
    with on_terminal(tmp_path, "chat", "--user", "Hi", "--stream") as terminal:
        terminal.until(b"waiting for the first word")
        provider.release()
        shown = terminal.to_the_end()
        assert terminal.process.returncode == 0
    assert "**Olá** [bold]\ufffd[31m\r\n!\r\n" in shown
    assert "\x1b[31m" not in shown
    assert "\x1b[2m" in shown
    assert "chat/test (openai test) · 10 + 5 tokens (provider) · " in shown
    assert " · stop · cost 2e-05" in shown


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path, provider: Provider) -> None:
    provider.answer("test", Answer(["line\n"] * 1000, gate_after=1, delay=0.01))
    write_models(tmp_path, chat__test=alias_of(provider))
    with begun(tmp_path, "chat", "--user", "Hi", "--stream") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"line\n"
        process.stdout.close()
        provider.release()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(20) == 1
    provider.client_left.wait_at_least(1)


@pytest.mark.parametrize("streamed", [(), ("--stream",)])
def test_ctrl_c_closes_the_connection_to_the_provider(
    tmp_path: Path, provider: Provider, streamed: tuple[str, ...]
) -> None:
    provider.answer("test", Answer(["Hello", " world"], gate_after=1))
    write_models(tmp_path, chat__test=alias_of(provider))
    with begun(tmp_path, "chat", "--user", "Hi", *streamed) as process:
        provider.at_gate.wait_at_least(1, timeout=30)
        if streamed:
            assert process.stdout is not None
            assert process.stdout.read(5) == b"Hello"
        process.send_signal(signal.SIGINT)
        said, faults = process.communicate(timeout=20)
    assert (process.returncode, faults) == (130, b"")
    assert said == (b"\n" if streamed else b"")
    provider.client_left.wait_at_least(1)
    provider.open_connections.wait_at_most(0)


def test_the_demo_answers_where_nothing_is_set(tmp_path: Path) -> None:
    done = said_by(tmp_path, "chat", "--user", "Hi", "--max-tokens", "3")
    shown = json.loads(done.stdout)
    assert (shown["alias"], shown["provider"]) == ("builtin/demo", "builtin")
    assert (shown["finish_reason"], shown["usage"]["completion_tokens"]) == ("length", 3)


@pytest.mark.parametrize(
    "prompt",
    sorted((Path(__file__).parents[2] / "prompts").glob("*.txt")),
    ids=lambda path: path.stem,
)
def test_the_prompts_that_are_shipped_can_be_asked(prompt: Path) -> None:
    text = prompt.read_text(encoding="utf-8")
    assert text.strip() == text.removesuffix("\n")
    assert 0 < len(text) <= 5000  # what a server takes
