"""Whatever a provider does: the contract's status or frame, and nothing that was said is lost."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import pytest

from asking_doors import Heard, asked_at
from provider import BEFORE_HEADERS, Answer, Provider
from reading import parsed, parsed_events, simplest_text, text_of
from runnel.chat.entities import Params
from runnel.models.openai import _openai_options  # pyright: ignore[reportPrivateUsage]
from socket_doors import SOCKETS
from standing import Serve, Standing, standing

Door = Literal["json", "text", "events"]
DOORS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "json": ("/chat", {}),
    "text": ("/api/generate", {}),
    "events": ("/api/generate", {"format": "events"}),
}
KEY: Final = "sk-canary-of-the-provider"
MEGABYTE: Final = 1024 * 1024
BAD_JSON: Final = b'data: {"choices": [{"delta"\n\n'
BAD_UTF8: Final = b'data: {"choices":[{"index":0,"delta":{"content":"\xff\xfe"}}]}\n\n'
ERROR_EVENT: Final = b'data: {"error":{"message":"secret words of sk-canary","code":500}}\n\n'
#: Of the provider's words none may be shown.
UNSPOKEN: Final = ("stand-in", "canary", "secret words", "Traceback", "<html>")


@dataclass(frozen=True)
class Fault:
    """An answer that breaks off, and what the client gets."""

    name: str
    answer: Answer
    status: int
    code: str
    retryable: bool = True
    text: str = ""
    says: str = ""


def refusal(status: int, code: str | None = None, **headers: str) -> Answer:
    return Answer(
        status=status,
        error_message=f"Incorrect API key provided: {KEY}",
        error_code=code,
        headers=headers,
    )


TWO: Final = ("Hello", " world")
FAULTS: Final = [
    Fault("400", refusal(400), 502, "upstream_error", retryable=False, says="HTTP 400"),
    Fault(
        "400 too long",
        refusal(400, "context_length_exceeded"),
        502,
        "upstream_error",
        retryable=False,
        says="too long",
    ),
    Fault("401", refusal(401), 502, "upstream_error", retryable=False, says="API key"),
    Fault("403", refusal(403), 502, "upstream_error", retryable=False, says="API key"),
    Fault("404", refusal(404), 502, "upstream_error", retryable=False, says="HTTP 404"),
    Fault("429", refusal(429), 429, "upstream_rate_limited"),
    Fault("500", refusal(500), 502, "upstream_error"),
    Fault("503", refusal(503), 502, "upstream_error"),
    Fault("cut before the headers", Answer(cut_after=BEFORE_HEADERS), 502, "upstream_error"),
    Fault("cut before the first piece", Answer(cut_after=0), 502, "upstream_incomplete"),
    Fault("cut in mid-stream", Answer(TWO, cut_after=1), 502, "upstream_incomplete", text="Hello"),
    Fault("bad JSON at first", Answer([BAD_JSON]), 502, "upstream_error"),
    Fault(
        "bad JSON in mid-stream",
        Answer(["Hello", BAD_JSON, " world"]),
        502,
        "upstream_error",
        text="Hello",
    ),
    Fault(
        "bad UTF-8 in mid-stream",
        Answer(["Hello", BAD_UTF8, " world"]),
        502,
        "upstream_error",
        text="Hello",
    ),
    Fault("error event at first", Answer([ERROR_EVENT]), 502, "upstream_error"),
    Fault(
        "error event in mid-stream",
        Answer(["Hello", ERROR_EVENT, " world"]),
        502,
        "upstream_error",
        text="Hello",
    ),
    Fault(
        "empty answer",
        Answer([], body=b"data: [DONE]\n\n", headers={"content-type": "text/event-stream"}),
        502,
        "upstream_incomplete",
    ),
    Fault(
        "nothing at all",
        Answer([], body=b"", headers={"content-type": "text/event-stream"}),
        502,
        "upstream_incomplete",
    ),
    Fault(
        "a page instead of a stream",
        Answer(
            body=b"<html><body>Bad gateway</body></html>", headers={"content-type": "text/html"}
        ),
        502,
        "upstream_incomplete",
    ),
    Fault(
        "no finish_reason",
        Answer(TWO, finish_reason=None),
        502,
        "upstream_incomplete",
        text="Hello world",
    ),
    Fault(
        "no finish_reason, no usage, no end mark",
        Answer(TWO, finish_reason=None, usage=None, done=False),
        502,
        "upstream_incomplete",
        text="Hello world",
    ),
]
SILENCES: Final = [
    Fault("silent before the headers", Answer(stall_after=BEFORE_HEADERS), 504, "upstream_timeout"),
    Fault("silent before the first piece", Answer(stall_after=0), 504, "upstream_timeout"),
    Fault(
        "silent in mid-stream",
        Answer(TWO, stall_after=1),
        504,
        "upstream_timeout",
        text="Hello",
    ),
]


def ids(fault: Fault) -> str:
    return fault.name


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("faults")
    with standing(migrated, folder, generation_max_bytes=3 * MEGABYTE) as there:
        yield there
        assert there.left_live() == []


@pytest.fixture(scope="module")
def impatient(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("impatient")
    with standing(
        migrated, folder, first_token_timeout_seconds=0.5, idle_timeout_seconds=0.5
    ) as there:
        yield there
        assert there.left_live() == []


def ask(stand: Standing, door: str, answer: Answer, **body: Any) -> httpx.Response:
    path, extra = DOORS[door]
    return stand.ask(path, answer, **extra, **body)


async def ask_there(stand: Standing, door: str, answer: Answer) -> Heard:
    prompt = stand.prompt(answer)
    session = prompt.replace(" ", "-")
    return await asked_at(stand.server, stand.user, door, prompt, session=session)


def assert_failed(stand: Standing, response: httpx.Response, door: str, fault: Fault) -> None:
    """The client was told as the contract says, and what was said is kept."""
    generation_id = response.headers["X-Generation-Id"]
    if door == "json" or not fault.text:
        assert response.status_code == fault.status
        assert response.headers["Content-Type"] == "application/problem+json"
        problem = response.json()
        told: dict[str, Any] = {
            "code": problem["code"],
            "message": problem["detail"],
            "retryable": fault.retryable,
        }
        assert problem["generation_id"] == generation_id
        assert problem["text"] == fault.text
    else:
        assert response.status_code == 200
        told = failed_frame(response.content, door, fault.text)
    assert_told(told, response.text, fault)
    assert_kept(stand, generation_id, told, fault)


def assert_failed_at_socket(stand: Standing, heard: Heard, fault: Fault) -> None:
    """The same, where there are frames only."""
    assert (heard.end, heard.text) == ("failed", fault.text), heard
    assert heard.told["generation_id"] == heard.generation_id
    told = {name: heard.told[name] for name in ("code", "message", "retryable")}
    assert_told(told, str(heard.frames), fault)
    assert_kept(stand, heard.generation_id, told, fault)


def assert_told(told: dict[str, Any], everything: str, fault: Fault) -> None:
    assert told["code"] == fault.code
    assert told["retryable"] is fault.retryable
    assert fault.says in told["message"]
    for words in UNSPOKEN:
        assert words not in everything


def assert_kept(stand: Standing, generation_id: str, told: dict[str, Any], fault: Fault) -> None:
    kept = stand.generation(generation_id)
    assert kept["status"] == "failed"
    assert kept["text"] == fault.text
    assert kept["finish_reason"] is None
    assert kept["error"] == told
    assert kept["usage"]["source"] == "estimated"
    assert kept["usage"]["prompt_tokens"] > 0
    assert_question_is_kept(stand, generation_id, fault.text)


def failed_frame(body: bytes, door: str, text: str) -> dict[str, Any]:
    if door == "events":
        *tokens, failed = parsed_events(body)
        assert text_of(tokens) == text
        assert failed.name == "failed"
        assert set(failed.data) == {"code", "message", "retryable"}
        return failed.data
    *texts, named, done = parsed(body)
    assert "".join(frame.data for frame in texts) == text
    assert (named.event, done.data) == ("failed", "[DONE]")
    return json.loads(named.data)


def assert_question_is_kept(stand: Standing, generation_id: str, partial: str) -> None:
    """The session goes on, and the model is told what was asked and half answered."""
    kept = stand.generation(generation_id)
    [[question]] = stand.rows(
        "SELECT content FROM messages JOIN generations ON messages.id = user_message_id"  # noqa: S608 - an id of ours
        f" WHERE generations.id = '{generation_id}'"
    )
    answered = stand.ask("/chat", Answer(), session_id=kept["session_id"])
    assert answered.status_code == 200, answered.text
    *history, _ = stand.provider.asks[-1].body["messages"]
    expected = [{"role": "user", "content": question}]
    if partial:
        expected.append({"role": "assistant", "content": partial})
    assert history == expected


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fault", FAULTS, ids=ids)
def test_a_fault_is_told_and_loses_nothing(stand: Standing, fault: Fault, door: Door) -> None:
    assert_failed(stand, ask(stand, door, fault.answer), door, fault)


@pytest.mark.parametrize("door", SOCKETS)
@pytest.mark.parametrize("fault", FAULTS, ids=ids)
async def test_a_fault_is_told_at_a_socket_and_loses_nothing(
    stand: Standing, fault: Fault, door: str
) -> None:
    assert_failed_at_socket(stand, await ask_there(stand, door, fault.answer), fault)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("fault", SILENCES, ids=ids)
def test_a_provider_that_falls_silent_is_left(
    impatient: Standing, fault: Fault, door: Door
) -> None:
    left = impatient.provider.client_left.value
    response = ask(impatient, door, fault.answer)
    impatient.provider.client_left.wait_at_least(left + 1, timeout=1)
    assert_failed(impatient, response, door, fault)


@pytest.mark.parametrize("fault", SILENCES, ids=ids)
async def test_a_provider_that_falls_silent_is_left_by_sockets_too(
    impatient: Standing, fault: Fault
) -> None:
    left = impatient.provider.client_left.value
    heard = await asyncio.gather(*(ask_there(impatient, door, fault.answer) for door in SOCKETS))
    impatient.provider.client_left.wait_at_least(left + len(SOCKETS), timeout=1)
    for each in heard:
        assert_failed_at_socket(impatient, each, fault)


@pytest.mark.parametrize("drop", [".", ""])
async def test_an_answer_that_drips_without_end_is_stopped(
    serve: Serve, provider: Provider, drop: str
) -> None:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    server = serve(models={"aliases": {"chat/test": alias}}, generation_timeout_seconds=0.6)
    provider.answer("test", Answer([drop] * 1000, delay=0.02))
    async with server.client(server.user("ana")) as client:
        whole, text, events = await asyncio.gather(
            *(client.post(path, json={"message": "?"} | body) for path, body in DOORS.values())
        )
    provider.client_left.wait_at_least(3, timeout=1)
    assert (whole.status_code, whole.json()["code"]) == (504, "upstream_timeout")
    assert set(whole.json()["text"]) == set(drop)
    for door, response in (("text", text), ("events", events)):
        if drop:
            said = response.text.count("data: .\n\n") + response.text.count('{"text":"."}')
            assert said > 1
            assert failed_frame(response.content, door, drop * said)["code"] == "upstream_timeout"
        else:
            assert (response.status_code, response.json()["code"]) == (504, "upstream_timeout")


@pytest.mark.parametrize("door", DOORS)
def test_a_provider_that_refuses_connections_is_told_at_once(
    serve: Serve, provider: Provider, door: Door
) -> None:
    alias = {"provider": "openai", "model": "test", "base_url": provider.refused_url()}
    server = serve(models={"aliases": {"chat/test": alias}})
    signed = server.user("ana")
    path, extra = DOORS[door]
    with httpx.Client(base_url=server.url, headers=signed.headers) as client:
        response = client.post(path, json={"message": "?"} | extra)
        kept = client.get(f"/api/generations/{response.headers['X-Generation-Id']}").json()
    assert (response.status_code, response.json()["code"]) == (502, "upstream_error")
    assert response.json()["detail"] == "The provider of chat/test cannot be reached."
    assert (kept["status"], kept["error"]["retryable"]) == ("failed", True)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(("given", "shown"), [("7", "7"), ("0.2", "1"), ("soon", None)])
def test_the_providers_retry_after_is_passed_on(
    stand: Standing, door: Door, given: str, shown: str | None
) -> None:
    response = ask(stand, door, refusal(429, **{"retry-after": given}))
    assert response.status_code == 429
    assert response.json()["code"] == "upstream_rate_limited"
    assert response.headers.get("Retry-After") == shown


@pytest.mark.parametrize("status", [401, 500])
def test_the_key_goes_to_the_provider_and_nowhere_else(
    serve: Serve, provider: Provider, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setenv("KEY_OF_THE_TEST", KEY)
    alias = {
        "provider": "openai",
        "model": "test",
        "base_url": provider.url,
        "api_key_env": "KEY_OF_THE_TEST",
    }
    server = serve(models={"aliases": {"chat/test": alias}})
    provider.answer("test", refusal(status))
    signed = server.user("ana")
    with httpx.Client(base_url=server.url, headers=signed.headers) as client:
        response = client.post("/chat", json={"message": "?"})
        kept = client.get(f"/api/generations/{response.headers['X-Generation-Id']}")
    assert provider.asks[0].headers["authorization"] == f"Bearer {KEY}"
    assert response.status_code == 502
    assert "canary" not in response.text + str(response.headers) + kept.text
    with closing(sqlite3.connect(server.settings.data_dir / "runnel.db")) as connection:
        assert "canary" not in "\n".join(connection.iterdump())


@dataclass(frozen=True)
class Good:
    """An answer that is fine, if unusual."""

    name: str
    answer: Answer
    text: str
    finish_reason: str = "stop"
    usage: tuple[int, int] | None = (10, 5)


GOODS: Final = [
    Good("slow", Answer(TWO, delay=0.1), "Hello world"),
    Good("huge chunk", Answer(["x" * 2 * MEGABYTE]), "x" * 2 * MEGABYTE),
    Good("finish_reason length", Answer(TWO, finish_reason="length"), "Hello world", "length"),
    Good(
        "finish_reason content_filter",
        Answer(["Hello"], finish_reason="content_filter"),
        "Hello",
        "content_filter",
    ),
    Good("no usage", Answer(TWO, usage=None), "Hello world", usage=None),
    Good("no end mark", Answer(TWO, done=False), "Hello world"),
    Good("empty text", Answer([]), ""),
    Good(
        "over GENERATION_MAX_BYTES",
        Answer(["é" * MEGABYTE, "x", "é" * MEGABYTE]),
        "é" * MEGABYTE + "x" + "é" * (MEGABYTE // 2 - 1),
        "length",
        usage=None,
    ),
]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("good", GOODS, ids=lambda good: good.name)
def test_an_unusual_answer_is_whole(stand: Standing, good: Good, door: Door) -> None:
    response = ask(stand, door, good.answer)
    assert response.status_code == 200
    kept = stand.generation(response.headers["X-Generation-Id"])
    assert (kept["status"], kept["finish_reason"]) == ("completed", good.finish_reason)
    assert kept["text"] == good.text
    usage = kept["usage"]
    if good.usage is None:
        assert usage["source"] == "estimated"
    else:
        counted = (usage["prompt_tokens"], usage["completion_tokens"], usage["source"])
        assert counted == (*good.usage, "provider")
    match door:
        case "json":
            answer = response.json()
            assert (answer["text"], answer["finish_reason"]) == (good.text, good.finish_reason)
            assert answer["usage"] == usage
        case "text":
            assert simplest_text(response.content) == good.text
        case "events":
            *tokens, end = parsed_events(response.content)
            assert text_of(tokens) == good.text
            assert (end.name, end.data["finish_reason"]) == ("end", good.finish_reason)
            assert end.data["usage"] == usage
            assert end.data["text_length"] == len(good.text)


def test_an_answer_over_its_bound_is_stopped_at_the_provider(stand: Standing) -> None:
    left = stand.provider.client_left.value
    answer = Answer(["x" * MEGABYTE] * 4, stall_after=4)
    assert stand.ask("/chat", answer).json()["finish_reason"] == "length"
    stand.provider.client_left.wait_at_least(left + 1, timeout=1)


def test_params_reach_the_provider_by_its_names(stand: Standing) -> None:
    params = {
        "temperature": 0.3,
        "top_p": 0.9,
        "max_tokens": 77,
        "seed": 42,
        "stop": ["END", "\n\n"],
        "json_mode": True,
    }
    assert stand.ask("/chat", Answer(), params=params).status_code == 200
    sent = stand.provider.asks[-1].body
    assert {name: sent[name] for name in sent if name not in {"messages", "model"}} == {
        "temperature": 0.3,
        "top_p": 0.9,
        "max_tokens": 77,
        "seed": 42,
        "stop": ["END", "\n\n"],
        "response_format": {"type": "json_object"},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_params_that_were_not_given_are_left_to_the_provider(stand: Standing) -> None:
    assert stand.ask("/chat", Answer(), params={"stop": "END"}).status_code == 200
    sent = stand.provider.asks[-1].body
    assert sent["stop"] == ["END"]
    assert set(sent) == {"messages", "model", "stop", "stream", "stream_options"}


def test_openai_itself_is_given_the_newer_name_of_max_tokens() -> None:
    assert _openai_options(Params(max_tokens=5)) == {"extra_body": {"max_completion_tokens": 5}}


def test_a_json_answer_cut_by_its_length_is_kept(stand: Standing) -> None:
    answer = Answer(['{"a":'], finish_reason="length")
    response = stand.ask("/chat", answer, params={"json_mode": True})
    assert (response.json()["text"], response.json()["finish_reason"]) == ('{"a":', "length")


def test_system_prompt_and_history_reach_the_provider_in_order(
    serve: Serve, provider: Provider
) -> None:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    server = serve(
        models={"aliases": {"chat/test": alias}}, system_prompt="Be kind.", temperature=0.5
    )
    provider.answer("test", Answer(["Four."]))
    signed = server.user("ana")
    given = [
        {"role": "system", "content": "Count."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?"},
    ]
    with httpx.Client(base_url=server.url, headers=signed.headers) as client:
        first = client.post("/chat", json={"messages": given, "session_id": "counting"}).json()
        client.post("/chat", json={"message": "Five?", "session_id": "counting"})
        client.post("/chat", json={"message": "Six?", "session_id": first["session_id"]})
        again = client.post("/chat", json={"messages": given, "session_id": "counting"})
    system = {"role": "system", "content": "Be kind."}
    answered = {"role": "assistant", "content": "Four."}
    talk = [system, *given, answered, {"role": "user", "content": "Five?"}, answered]
    assert [ask.body["messages"] for ask in provider.asks] == [
        [system, *given],
        talk[:-1],
        [*talk, {"role": "user", "content": "Six?"}],
    ]
    assert provider.asks[0].body["temperature"] == 0.5
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert "send `message`" in again.json()["detail"]


def test_a_second_ask_in_a_session_that_is_being_answered_is_busy(stand: Standing) -> None:
    stand.provider.hold()
    prompt = stand.prompt(Answer(TWO, gate_after=1))
    body = {"prompt": prompt, "session_id": "two-at-once"}
    with stand.client.stream("POST", "/api/generate", json=body) as first:
        generation_id = first.headers["X-Generation-Id"]
        for session in ("two-at-once", first.headers["X-Session-Id"]):
            refused = stand.ask("/chat", Answer(), session_id=session)
            problem = refused.json()
            assert (refused.status_code, problem["code"]) == (409, "busy")
            assert problem["generation_id"] == generation_id
            assert problem["events_url"] == f"/api/generations/{generation_id}/events"
            assert problem["abort_url"] == f"/api/generations/{generation_id}/abort"
        stand.provider.release()
        assert simplest_text(first.read()) == "Hello world"
    # What was refused has left nothing behind, and the session goes on.
    assert stand.ask("/chat", Answer(), session_id="two-at-once").status_code == 200
    contents = [message["content"] for message in stand.provider.asks[-1].body["messages"]]
    assert contents[:-1] == [prompt, "Hello world"]


async def test_of_two_asks_at_once_in_a_session_exactly_one_wins(stand: Standing) -> None:
    async with stand.server.client(stand.user) as client:
        for number in range(20):
            await assert_one_wins(stand, client, f"race-{number // 2}", asks=2)


async def test_a_name_asked_for_twenty_times_at_once_makes_one_session(stand: Standing) -> None:
    async with stand.server.client(stand.user) as client:
        session_id = await assert_one_wins(stand, client, "first-come", asks=20)
    rows = stand.rows("SELECT id FROM sessions WHERE name = 'first-come'")
    assert rows == [(session_id,)]


async def assert_one_wins(
    stand: Standing, client: httpx.AsyncClient, session: str, *, asks: int
) -> str:
    """The id of the session, after one of the asks was answered and all others were `busy`."""
    stand.provider.hold()
    prompt = stand.prompt(Answer(gate_after=0))
    body = {"message": prompt, "session_id": session}
    asking = [asyncio.create_task(client.post("/chat", json=body)) for _ in range(asks)]
    refused: list[httpx.Response] = []
    for finished in asyncio.as_completed(asking):
        refused.append(await finished)
        if len(refused) == asks - 1:
            break
    stand.provider.release()
    responses = await asyncio.gather(*asking)
    [winner] = [response for response in responses if response.status_code == 200]
    for response in refused:
        assert (response.status_code, response.json()["code"]) == (409, "busy")
        assert response.json()["generation_id"] == winner.json()["generation_id"]
    return winner.json()["session_id"]
