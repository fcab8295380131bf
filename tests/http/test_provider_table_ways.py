"""On every provider: its params honoured or refused by name, and leaving ends the question there."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from provider import BEFORE_HEADERS, Answer
from provider_table import PROVIDERS, StandIns, Table, stand_ins_of, table
from waiting import until

TWO: Final = ("Hello", " world")
GIVEN: Final[dict[str, Any]] = {
    "temperature": 0.3,
    "top_p": 0.9,
    "max_tokens": 77,
    "seed": 42,
    "stop": ["END"],
    "json_mode": True,
}
_COMPATIBLE: Final[dict[str, Any]] = {
    **{name: {name: value} for name, value in GIVEN.items()},
    "json_mode": {"response_format": {"type": "json_object"}},
}
#: What each wire says of each param; what is absent is refused.
SAID: Final[dict[str, dict[str, Any]]] = {
    "openai": _COMPATIBLE | {"max_tokens": {"max_completion_tokens": 77}},
    "compatible": _COMPATIBLE,
    "groq": _COMPATIBLE,
    "fireworks_ai": _COMPATIBLE,
    "bedrock": {
        "temperature": {"inferenceConfig": {"temperature": 0.3}},
        "top_p": {"inferenceConfig": {"topP": 0.9}},
        "max_tokens": {"inferenceConfig": {"maxTokens": 77}},
        "stop": {"inferenceConfig": {"stopSequences": ["END"]}},
    },
    "langgraph": {},
}


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[StandIns]:
    with stand_ins_of("sk-of-the-test") as there:
        yield there


@pytest.fixture(scope="module")
def stand(
    migrated: Path, tmp_path_factory: pytest.TempPathFactory, stand_ins: StandIns
) -> Iterator[Table]:
    with table(migrated, tmp_path_factory.mktemp("ways"), stand_ins) as there:
        yield there


@pytest.mark.parametrize("param", GIVEN)
@pytest.mark.parametrize("name", PROVIDERS)
def test_a_param_is_honoured_or_refused_by_name(stand: Table, name: str, param: str) -> None:
    asks = len(stand.provider(name).asks)
    response = stand.ask(name, Answer(TWO), params={param: GIVEN[param]})
    said = SAID[name].get(param)
    if said is None:
        assert response.status_code == 422
        [error] = response.json()["errors"]
        assert error["field"] == f"params.{param}"
        assert len(stand.provider(name).asks) == asks
    else:
        assert response.status_code == 200
        sent = stand.provider(name).asks[-1].body
        assert said.items() <= sent.items()


@pytest.mark.parametrize("place", [BEFORE_HEADERS, 0, 1])
@pytest.mark.parametrize("name", PROVIDERS)
def test_an_abort_ends_the_question_at_the_provider(stand: Table, name: str, place: int) -> None:
    provider = stand.provider(name)
    left, asks = provider.client_left.value, len(provider.asks)
    asked = stand.ask(name, Answer(TWO, stall_after=place), path="/chat", background=True)
    generation_id = asked.json()["generation_id"]
    until(lambda: len(provider.asks) > asks)
    if place == 1:
        until(lambda: stand.generation(generation_id)["text"])
    aborted = stand.client.post(f"/api/generations/{generation_id}/abort")
    assert (aborted.status_code, aborted.json()["status"]) == (200, "aborted")
    provider.client_left.wait_at_least(left + 1, timeout=1)
    kept = stand.generation(generation_id)
    assert (kept["status"], kept["text"]) == ("aborted", "Hello" if place == 1 else "")


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_token_is_told_before_the_next_one_is_there(stand: Table, name: str) -> None:
    provider = stand.provider(name)
    body = stand.question(name, Answer(TWO, gate_after=1))
    with stand.client.stream("POST", "/api/generate", json=body) as response:
        lines = response.iter_lines()
        assert next(line for line in lines if line.startswith("data:")) == "data: Hello"
        provider.at_gate.wait_at_least(1)
        provider.release()
        assert [line for line in lines if line.startswith("data:")] == [
            "data:  world",
            "data: [DONE]",
        ]
    provider.hold()


@pytest.mark.parametrize("name", PROVIDERS)
def test_the_answer_says_who_gave_it(stand: Table, name: str) -> None:
    answer = stand.ask(name, Answer(TWO), path="/chat").json()
    fields = PROVIDERS[name]
    assert (answer["model"], answer["provider"]) == (f"chat/{name}", fields["provider"])
    assert answer["provider_model"] == fields.get("graph", fields.get("model"))
