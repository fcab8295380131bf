"""Every fault of a provider on every provider: told alike, and nothing of the provider's own words.

What a wire cannot have is left out by name, in `OF_BEDROCK`.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from test_provider_faults import (
    FAULTS,
    KEY,
    SILENCES,
    TWO,
    UNSPOKEN,
    Fault,
    failed_frame,
    refusal,
)

import bedrock_wire as wire
from provider import Answer
from provider_table import PROVIDERS, StandIns, Table, stand_ins_of, table

DELTA: Final = {
    ":event-type": "contentBlockDelta",
    ":content-type": "application/json",
    ":message-type": "event",
}
BAD_JSON: Final = wire.message(DELTA, b'{"delta": {"text')
BAD_UTF8: Final = wire.message(
    DELTA,
    b'{"contentBlockIndex":0,"delta":{"text":"\xff\xfe"}}',
)
ERROR_EVENT: Final = wire.exception("internalServerException", "secret words of sk-canary")
STREAM: Final = {"content-type": wire.EVENT_STREAM}
#: Faults as AWS' wire has them, where they are not the same script. None: its wire has none such.
OF_BEDROCK: Final[dict[str, Answer | None]] = {
    "400 too long": Answer(status=400, error_message=f"Input is too long: {KEY}"),
    "bad JSON at first": Answer([BAD_JSON]),
    "bad JSON in mid-stream": Answer(["Hello", BAD_JSON, " world"]),
    "bad UTF-8 in mid-stream": Answer(["Hello", BAD_UTF8, " world"]),
    "error event at first": Answer([ERROR_EVENT]),
    "error event in mid-stream": Answer(["Hello", ERROR_EVENT, " world"]),
    "empty answer": Answer([], body=b"", headers=STREAM),
    "nothing at all": None,  # no end mark but `messageStop`: the same as an empty answer
}
#: What another client than OpenAI's makes of the same.
DIFFERENT: Final[dict[tuple[str, str], str]] = {
    ("bedrock", "a page instead of a stream"): "upstream_error",
    # In a graph an answer without chunks is LangChain's ValueError, as a graph may raise its own.
    ("langgraph", "empty answer"): "upstream_error",
    ("langgraph", "nothing at all"): "upstream_error",
    ("langgraph", "a page instead of a stream"): "upstream_error",
}
ONLY_BEDROCKS: Final = [
    Fault(
        "wrong checksum",
        Answer(["Hello", wire.wrong_checksum(wire.text("secret words"))]),
        502,
        "upstream_error",
        text="Hello",
    ),
    Fault(
        "wrong checksum of the lengths",
        Answer(["Hello", wire.wrong_prelude(wire.text("secret words"))]),
        502,
        "upstream_error",
        text="Hello",
    ),
    Fault(
        "half a message in mid-stream",
        Answer(["Hello", wire.truncated(wire.text("secret words")), " world"]),
        502,
        "upstream_error",
        text="Hello",
    ),
    Fault(
        "half a message at the end",
        Answer(
            body=wire.event("messageStart", {"role": "assistant"})
            + wire.text("Hello")
            + wire.truncated(wire.text("secret words")),
            headers=STREAM,
        ),
        502,
        "upstream_incomplete",
        text="Hello",
    ),
    Fault(
        "throttled in mid-stream",
        Answer(["Hello", wire.exception("throttlingException", "secret words")]),
        429,
        "upstream_rate_limited",
        text="Hello",
    ),
    Fault(
        "validated in mid-stream",
        Answer(["Hello", wire.exception("validationException", "secret words")]),
        502,
        "upstream_error",
        retryable=False,
        text="Hello",
    ),
]


def of(provider: str, fault: Fault) -> Fault | None:
    """The fault in the words of the provider's wire."""
    fault = replace(fault, code=DIFFERENT.get((provider, fault.name), fault.code))
    if provider != "bedrock":
        return fault
    answer = OF_BEDROCK.get(fault.name, fault.answer)
    # Its errors have names in place of a status, and there is no key.
    return answer and replace(fault, answer=answer, says="")


def rows(faults: list[Fault], *, only_bedrocks: list[Fault] | None = None) -> Any:
    """A test for each provider and each fault that its wire can have."""
    table = [(name, of(name, fault)) for fault in faults for name in PROVIDERS]
    table += [("bedrock", fault) for fault in only_bedrocks or ()]
    return pytest.mark.parametrize(
        ("name", "fault"),
        [
            pytest.param(name, fault, id=f"{name}: {fault.name}")
            for name, fault in table
            if fault is not None
        ],
    )


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[StandIns]:
    with stand_ins_of(KEY) as there:
        yield there


@pytest.fixture(scope="module")
def stand(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory, stand_ins: StandIns
) -> Iterator[Table]:
    with table(migrated, tmp_path_factory.mktemp("table"), stand_ins) as there:
        yield there


@pytest.fixture(scope="module")
def impatient(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory, stand_ins: StandIns
) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("impatient-table")
    seconds: dict[str, Any] = {"first_token_timeout_seconds": 1, "idle_timeout_seconds": 1}
    with table(migrated, folder, stand_ins, **seconds) as there:
        # A first question loads and connects; whoever is not yet asked when time is up is not left.
        for name in PROVIDERS:
            there.ask(name, Answer(TWO))
        yield there


@pytest.fixture(scope="module")
def deserted(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory, stand_ins: StandIns
) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("deserted-table")
    with table(migrated, folder, stand_ins, refused=True) as there:
        yield there


def assert_failed(stand: Table, response: httpx.Response, fault: Fault) -> None:
    """The client was told as the contract says, and the row says the same."""
    if fault.text:
        assert response.status_code == 200, response.text
        told = failed_frame(response.content, "events", fault.text)
    else:
        assert response.status_code == fault.status, response.text
        problem = response.json()
        assert problem["text"] == ""
        told = {"code": problem["code"], "message": problem["detail"]}
    kept = stand.kept(response)
    assert told.items() <= kept["error"].items()
    assert (told["code"], kept["error"]["retryable"]) == (fault.code, fault.retryable)
    assert fault.says in told["message"]
    assert (kept["status"], kept["text"]) == ("failed", fault.text)
    assert kept["finish_reason"] is None
    for words in UNSPOKEN:
        assert words not in response.text
        assert words not in json.dumps(kept)


@rows(FAULTS, only_bedrocks=ONLY_BEDROCKS)
def test_a_fault_is_told_alike_whoever_the_provider_is(
    stand: Table, name: str, fault: Fault
) -> None:
    assert_failed(stand, stand.ask(name, fault.answer, format="events"), fault)


@rows(SILENCES)
def test_whoever_falls_silent_is_left(impatient: Table, name: str, fault: Fault) -> None:
    provider = impatient.provider(name)
    left = provider.client_left.value
    response = impatient.ask(name, fault.answer, format="events")
    provider.client_left.wait_at_least(left + 1)
    assert_failed(impatient, response, fault)


@rows([fault for fault in FAULTS if fault.name.endswith("mid-stream") and "cut" not in fault.name])
def test_who_sends_a_fault_in_mid_stream_is_hung_up_on(
    stand: Table, name: str, fault: Fault
) -> None:
    provider = stand.provider(name)
    left = provider.client_left.value
    # It would send nothing more, and wait.
    broken = replace(fault, answer=replace(fault.answer, stall_after=2))
    response = stand.ask(name, broken.answer, format="events")
    provider.client_left.wait_at_least(left + 1)
    assert_failed(stand, response, broken)


@rows([Fault("refused connection", Answer(), 502, "upstream_error", says="cannot be reached")])
def test_a_connection_that_is_refused_is_told_at_once(
    deserted: Table, name: str, fault: Fault
) -> None:
    says = "" if name == "bedrock" else fault.says
    response = deserted.ask(name, fault.answer, format="events")
    assert_failed(deserted, response, replace(fault, says=says))
    assert response.json()["detail"] == f"The provider of chat/{name} cannot be reached."


# AWS says nothing of when to come back.
@pytest.mark.parametrize("name", [name for name in PROVIDERS if name != "bedrock"])
def test_the_time_to_come_back_is_passed_on(stand: Table, name: str) -> None:
    response = stand.ask(name, refusal(429, **{"retry-after": "7"}))
    assert (response.status_code, response.headers["Retry-After"]) == (429, "7")


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_good_answer_is_whole_with_the_providers_count(stand: Table, name: str) -> None:
    response = stand.ask(name, Answer(TWO))
    kept = stand.kept(response)
    assert (kept["status"], kept["text"], kept["finish_reason"]) == (
        "completed",
        "Hello world",
        "stop",
    )
    assert (kept["usage"]["prompt_tokens"], kept["usage"]["completion_tokens"]) == (10, 5)
    assert kept["usage"]["source"] == "provider"
    assert kept["provider"] == PROVIDERS[name]["provider"]


def test_each_fault_has_its_row_on_each_provider() -> None:
    names = {fault.name for fault in FAULTS}
    assert OF_BEDROCK.keys() <= names
    assert {name for _, name in DIFFERENT} <= names
    left_out = [fault for fault in FAULTS if of("bedrock", fault) is None]
    assert [fault.name for fault in left_out] == ["nothing at all"]
