"""Attachments before models of every kind: what each takes, and how much of it."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

import graphs
from bedrock import CREDENTIALS, Bedrock, as_aws_user
from given_files import attached, picture
from houses import opened_house
from provider import Answer, Provider
from serving import Signed
from wire import House, problem, refused_field

BUDGET: Final = 600
NOVA: Final = "amazon.nova-lite-v1:0"


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as environment:
        yield environment


@pytest.fixture(scope="module")
def bedrock(environment: pytest.MonkeyPatch) -> Iterator[Bedrock]:
    as_aws_user(environment, **CREDENTIALS)
    with Bedrock() as provider:
        yield provider


@pytest.fixture(scope="module")
def house(
    migrated: Path,
    tmp_path_factory: pytest.TempPathFactory,
    bedrock: Bedrock,
    environment: pytest.MonkeyPatch,
) -> Iterator[House]:
    def models(provider: Provider) -> dict[str, Any]:
        environment.setenv(graphs.ADDRESS, provider.url)
        return models_of(provider)

    folder, settings = tmp_path_factory.mktemp("house"), {"bedrock_endpoint_url": bedrock.url}
    with opened_house(folder, migrated, "sqlite", settings, models) as house:
        yield house


def models_of(provider: Provider) -> dict[str, Any]:
    """`chat/demo` takes no pictures; `chat/small` has a small budget; the others are by family."""
    openai = {"provider": "openai", "base_url": provider.url}
    return {
        "default": "chat/test",
        "aliases": {
            "chat/test": {**openai, "model": "test"},
            "chat/small": {**openai, "model": "small", "context_tokens": BUDGET},
            "chat/demo": {"provider": "builtin"},
            "chat/nova": {"provider": "bedrock", "model": NOVA, "region": "us-east-1"},
            "chat/graph": {"provider": "langgraph", "graph": "graphs:asking"},
            "chat/passed-on": {
                **openai,
                "model": "down",
                "fallbacks": ["chat/demo", "chat/small"],
            },
        },
    }


def files(house: House) -> set[str]:
    folder = house.server.settings.data_dir / "attachments"
    return {file.name for file in folder.rglob("*-*")}


def ask(house: House, who: Signed, model: str, **members: Any) -> httpx.Response:
    body = {"message": "What is it?", "model": model, **members}
    return house.http.post("/chat", json=body, headers=who.headers)


def context(house: House, who: Signed, answer: httpx.Response) -> dict[str, int]:
    path = f"/api/generations/{answer.json()['generation_id']}"
    return house.http.get(path, headers=who.headers).json()["context"]


def test_a_model_that_takes_no_pictures_says_so_before_anything_is_kept_or_asked(
    house: House, ada: Signed
) -> None:
    made = attached(house, ada, picture())["attachment_id"]
    before = list(house.provider.asks)
    refused = ask(house, ada, "chat/demo", attachments=[made])
    assert refused_field(refused, "attachments") == "chat/demo (builtin) does not take images."
    sessions = house.http.get("/api/chat/sessions", headers=ada.headers).json()["sessions"]
    assert (sessions, house.provider.asks) == ([], before)
    assert ask(house, ada, "chat/test", attachments=[made]).status_code == 200


def test_it_takes_documents_all_the_same(house: House, ada: Signed) -> None:
    made = attached(house, ada, b"text")["attachment_id"]
    assert ask(house, ada, "chat/demo", attachments=[made]).status_code == 200


def test_the_sessions_own_model_is_held_to_it_too(house: House, ada: Signed) -> None:
    made = attached(house, ada, picture())["attachment_id"]
    body = {"settings": {"model_preference": "chat/demo"}}
    session = house.http.post("/api/chat/sessions", json=body, headers=ada.headers).json()
    question = {"message": "?", "session_id": session["session_id"], "attachments": [made]}
    refused = house.http.post("/chat", json=question, headers=ada.headers)
    assert "chat/demo" in refused_field(refused, "attachments")
    again = {"message": "?", "session_id": session["session_id"]}
    assert house.http.post("/chat", json=again, headers=ada.headers).status_code == 200


def test_pictures_of_earlier_questions_are_left_out_for_it(house: House, ada: Signed) -> None:
    made = attached(house, ada, picture())["attachment_id"]
    first = ask(house, ada, "chat/test", attachments=[made])
    second = ask(house, ada, "chat/demo", session_id=first.json()["session_id"])
    assert second.status_code == 200
    assert context(house, ada, second) == {
        "messages": 3,
        "left_out": 0,
        "attachments_cut": 0,
        "attachments_left_out": 1,
    }


def test_another_answer_to_a_picture_is_not_asked_of_it(house: House, ada: Signed) -> None:
    made = attached(house, ada, picture())["attachment_id"]
    first = ask(house, ada, "chat/test", attachments=[made]).json()
    path = f"/api/chat/sessions/{first['session_id']}/messages/{first['message_id']}/regenerate"
    refused = house.http.post(path, json={"model": "chat/demo"}, headers=ada.headers)
    assert "chat/demo" in refused_field(refused, "attachments")


def test_a_document_is_cut_to_the_budget_of_the_model_that_answers(
    house: House, ada: Signed
) -> None:
    text = "".join(f"line {number}\n" for number in range(5000))
    made = attached(house, ada, text.encode(), "lines.txt")["attachment_id"]
    answer = ask(house, ada, "chat/small", attachments=[made])
    [message] = house.provider.asks[-1].body["messages"]
    assert len(message["content"]) <= BUDGET * 4
    assert message["content"].startswith('<attachment name="lines.txt">\nline 0\nline 1\n')
    assert f"of {len(text)} characters are shown.]" in message["content"]
    assert message["content"].endswith("What is it?")
    assert context(house, ada, answer)["attachments_cut"] == 1
    # Asked on, the newest talk goes before what is left of it.
    again = ask(house, ada, "chat/small", session_id=answer.json()["session_id"])
    asked = house.provider.asks[-1].body["messages"]
    assert sum(len(each["content"]) for each in asked) <= BUDGET * 4
    assert context(house, ada, again)["messages"] == 3


def test_what_of_a_long_talk_is_left_out_is_told(house: House, ada: Signed) -> None:
    history = [
        {"role": role, "content": "word " * 80} for _ in range(10) for role in ("user", "assistant")
    ]
    body = {"messages": [*history, {"role": "user", "content": "?"}], "model": "chat/small"}
    answer = house.http.post("/chat", json=body, headers=ada.headers)
    given = len(house.provider.asks[-1].body["messages"])
    assert 1 < given < 21
    told = context(house, ada, answer)
    assert (told["messages"], told["left_out"]) == (given, 21 - given)


def test_who_stands_in_is_given_what_it_takes(house: House, ada: Signed) -> None:
    house.provider.answer("down", Answer((), status=503))
    made = attached(house, ada, picture())["attachment_id"]
    answer = ask(house, ada, "chat/passed-on", attachments=[made])
    assert answer.json()["model"] == "chat/small"  # the demo takes no pictures
    parts = house.provider.asks[-1].body["messages"][-1]["content"]
    assert [part["type"] for part in parts] == ["image_url", "text"]


def test_bedrock_is_sent_the_picture_itself(house: House, ada: Signed, bedrock: Bedrock) -> None:
    data = picture("WEBP")
    ids = [attached(house, ada, each)["attachment_id"] for each in (data, b"some text")]
    assert ask(house, ada, "chat/nova", attachments=ids).status_code == 200
    blocks = bedrock.asks[-1].body["messages"][-1]["content"]
    assert blocks[0]["image"]["format"] == "webp"
    assert base64.b64decode(blocks[0]["image"]["source"]["bytes"]) == data
    assert "some text" in blocks[1]["text"]
    assert blocks[2]["text"] == "What is it?"


def test_a_graphs_models_are_sent_the_picture_too(house: House, ada: Signed) -> None:
    made = attached(house, ada, picture("GIF"))["attachment_id"]
    assert ask(house, ada, "chat/graph", attachments=[made]).status_code == 200
    sent = json.dumps(house.provider.asks[-1].body["messages"][-1]["content"])
    assert f"data:image/gif;base64,{base64.b64encode(picture('GIF')).decode()}" in sent


def test_purging_a_session_takes_its_files(house: House, ada: Signed) -> None:
    before = files(house)
    made, other = (attached(house, ada, b"text")["attachment_id"] for _ in range(2))
    asked = ask(house, ada, "chat/test", attachments=[made]).json()
    path = f"/api/chat/sessions/{asked['session_id']}?purge=true"
    assert house.http.delete(path, headers=ada.headers).status_code == 204
    assert files(house) == before | {other}
    gone = house.http.get(f"/api/attachments/{made}", headers={**ada.headers, "Accept": "*/*"})
    problem(gone, 404, "not_found")


def test_the_files_of_a_user_who_goes_go_too(house: House, ada: Signed) -> None:
    before = files(house)
    made, _ = (attached(house, ada, b"text")["attachment_id"] for _ in range(2))
    ask(house, ada, "chat/test", attachments=[made])
    assert house.http.delete("/me", headers=ada.headers).status_code == 204
    assert files(house) == before
