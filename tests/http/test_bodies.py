"""What a question may look like, and what is said of one that looks otherwise."""

import json
from typing import Any, Final

import httpx
import pytest

from serving import Signed
from wire import NOBODYS_ID, House, problem, query, refused_field

DOORS: Final = ("/chat", "/api/generate")
USER: Final = {"role": "user", "content": "hi"}
ASSISTANT: Final = {"role": "assistant", "content": "hello"}
SYSTEM: Final = {"role": "system", "content": "be brief"}


@pytest.fixture(scope="module")
def somebody(house: House) -> Signed:
    """One user for all that is refused anyway."""
    return house.server.user("somebody")


def post(house: House, who: Signed, body: object, path: str = "/chat") -> httpx.Response:
    # In ASCII, so that lone surrogates get through.
    headers = who.headers | {"Content-Type": "application/json"}
    return house.http.post(path, content=json.dumps(body), headers=headers)


UNKNOWN: Final[list[tuple[dict[str, Any], str, str]]] = [
    ({"temperature": 0.5}, "temperature", '{"params": {"temperature": …}}'),
    ({"top_p": 0.5}, "top_p", "`params`"),
    ({"max_tokens": 5}, "max_tokens", "`params`"),
    ({"seed": 5}, "seed", "`params`"),
    ({"stop": "x"}, "stop", "`params`"),
    ({"json_mode": True}, "json_mode", "`params`"),
    ({"base_url": "http://x"}, "base_url", "config/models.json"),
    ({"api_key": "x"}, "api_key", "config/models.json"),
    ({"params": {"base_url": "http://x"}}, "params.base_url", "config/models.json"),
    ({"params": {"api_key": "x"}}, "params.api_key", "config/models.json"),
    ({"params": {"session_id": "x"}}, "params.session_id", "beside `params`"),
    ({"params": {"format": "text"}}, "params.format", "beside `params`"),
    ({"params": {"n": 2}}, "params.n", "is not a field"),
    ({"params": {"params": {}}}, "params.params", "is not a field"),
    ({"Message": "hi"}, "Message", "is not a field"),
    ({"": 1}, "", "is not a field"),
    ({"a.b": 1}, "a.b", "is not a field"),
    ({"\ud800\0": 1}, "\ufffd\ufffd", "is not a field"),
    ({"x" * 5000: 1}, "x" * 5000, "is not a field"),
]


@pytest.mark.parametrize(("more", "field", "says"), UNKNOWN, ids=[row[1][:20] for row in UNKNOWN])
def test_an_unknown_field_is_refused_by_its_name_and_place(
    house: House, somebody: Signed, more: dict[str, Any], field: str, says: str
) -> None:
    for path in DOORS:
        answer = post(house, somebody, {"message": "hi"} | more, path)
        assert says in refused_field(answer, field)
        assert field in answer.json()["detail"]


def test_an_unknown_field_of_a_message_is_refused(house: House, somebody: Signed) -> None:
    body = {"messages": [SYSTEM, USER | {"name": "ada"}]}
    assert "is not a field" in refused_field(post(house, somebody, body), "messages.1.name")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/login", {"username": "a", "password": "b", "remember": True}, "remember"),
        ("/refresh", {"refresh_token": "a", "access_token": "b"}, "access_token"),
        ("/register", {"username": "a", "password": "b", "role": "admin"}, "role"),
        ("/api/keys", {"name": "a", "key": "b"}, "key"),
        ("/me/password", {"current_password": "a", "new_password": "b", "user": "c"}, "user"),
    ],
)
def test_every_door_refuses_unknown_fields(
    house: House, somebody: Signed, path: str, body: dict[str, Any], field: str
) -> None:
    refused_field(post(house, somebody, body, path), field)


def test_every_unknown_field_is_named_at_once(house: House, somebody: Signed) -> None:
    answer = post(house, somebody, {"message": "hi", "x": 1, "y": 1, "params": {"z": 1}})
    errors = problem(answer, 422, "invalid_request", more={"errors"})["errors"]
    assert {error["field"] for error in errors} == {"x", "y", "params.z"}


OUT_OF_RANGE: Final[list[tuple[str, Any]]] = [
    ("temperature", -0.1),
    ("temperature", 2.1),
    ("temperature", "hot"),
    ("temperature", []),
    ("top_p", 0),
    ("top_p", 1.1),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("max_tokens", 10_000_001),
    ("max_tokens", "many"),
    ("seed", 2**63),
    ("seed", -(2**63) - 1),
    ("seed", 0.5),
    ("stop", 7),
    ("stop", {}),
    ("stop", ["x"] * 17),
    ("json_mode", "perhaps"),
    ("stream", "perhaps"),
    ("stream", 2),
]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE, ids=lambda value: str(value)[:12])
def test_a_parameter_out_of_range_is_refused(
    house: House, somebody: Signed, name: str, value: object
) -> None:
    refused_field(
        post(house, somebody, {"message": "hi", "params": {name: value}}), f"params.{name}"
    )


@pytest.mark.parametrize(
    "value",
    ["", "x" * 257, [""], ["x", ""], ["x", 7], ["x" * 257], [["x"]]],
    ids=lambda value: str(value)[:9],
)
def test_a_stop_sequence_out_of_range_is_refused_by_its_place(
    house: House, somebody: Signed, value: list[object] | str
) -> None:
    answer = post(house, somebody, {"message": "hi", "params": {"stop": value}})
    # One sequence is a list of one.
    place = len(value) - 1 if isinstance(value, list) else 0
    refused_field(answer, f"params.stop.{place}")


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0, "top_p": 1, "max_tokens": 1, "seed": -(2**63), "stop": "x"},
        {"temperature": 2, "top_p": 0.01, "max_tokens": 10_000_000, "seed": 2**63 - 1},
        {"stop": ["x"] * 16, "json_mode": True},
        {"stop": "x" * 256, "json_mode": False},
        {"temperature": None, "stop": None, "stream": None},
        {"stop": []},
        {},
    ],
    ids=str,
)
def test_parameters_at_their_bounds_reach_the_model(
    house: House, somebody: Signed, params: dict[str, Any]
) -> None:
    answer = post(house, somebody, {"message": "hi", "params": params})
    assert answer.status_code == 200
    sent = house.provider.asks[-1].body
    for name in ("temperature", "top_p", "max_tokens", "seed"):
        assert sent.get(name) == params.get(name)
    stop = params.get("stop") or None
    assert sent.get("stop") == ([stop] if isinstance(stop, str) else stop)
    assert ("response_format" in sent) is params.get("json_mode", False)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"message": 7}, "message"),
        ({"message": ["hi"]}, "message"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [7]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "tool", "content": "hi"}]}, "messages.0.role"),
        ({"messages": [USER | {"content": [{"type": "text"}]}]}, "messages.0.content"),
        ({"messages": [USER, ASSISTANT]}, "messages"),
        ({"messages": [USER, SYSTEM]}, "messages"),
        ({"message": "hi", "model": ""}, "model"),
        ({"message": "hi", "model": "x" * 256}, "model"),
        ({"message": "hi", "model": 7}, "model"),
        ({"message": "hi", "params": None}, "params"),
        ({"message": "hi", "params": []}, "params"),
        ({"message": "hi", "params": "x"}, "params"),
        ({"message": "hi", "format": "xml"}, "format"),
        ({"message": "hi", "format": None}, "format"),
        ({"message": "hi", "stream": "perhaps"}, "stream"),
        ({"message": "hi", "session_id": 7}, "session_id"),
        ({"message": "hi", "session_id": ""}, "session_id"),
        ({"message": "hi", "session_id": "x" * 129}, "session_id"),
        ({"message": "hi", "session_id": "a b"}, "session_id"),
        ({"message": "hi", "session_id": "a/b"}, "session_id"),
        ({"message": "hi", "session_id": "a\n"}, "session_id"),
        ({"message": "hi", "session_id": "\u00fc"}, "session_id"),
        ({"message": "hi", "session_id": "me"}, "session_id"),
        ({"message": "hi", "session_id": "somebody"}, "session_id"),
        ({"message": "hi", "session_id": "SomeBody"}, "session_id"),
        ({"message": ""}, "message"),
        ({"message": " \n\t"}, "message"),
        ({"message": "\r\n"}, "message"),
        ({"prompt": ""}, "message"),
        ({"messages": [USER | {"content": " "}]}, "message"),
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused_by_its_field(
    house: House, somebody: Signed, body: dict[str, Any], field: str
) -> None:
    asked = len(house.provider.asks)
    refused_field(post(house, somebody, body), field)
    assert len(house.provider.asks) == asked


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": None},
        {"message": "a", "prompt": "a"},
        {"message": "a", "messages": [USER]},
        {"prompt": "a", "messages": [USER]},
        {"message": "a", "prompt": "a", "messages": [USER]},
    ],
    ids=lambda body: "+".join(body) or "none",
)
def test_exactly_one_question_is_asked(
    house: House, somebody: Signed, path: str, body: dict[str, Any]
) -> None:
    says = refused_field(post(house, somebody, body, path), "body")
    assert "`message`, `prompt` and `messages`" in says


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize(
    "body",
    [{"message": "hi"}, {"prompt": "hi"}, {"messages": [USER]}],
    ids=lambda body: next(iter(body)),
)
def test_each_way_to_ask_is_taken_at_each_door(
    house: House, somebody: Signed, path: str, body: dict[str, Any]
) -> None:
    answer = post(house, somebody, body, path)
    assert answer.status_code == 200
    assert house.provider.asks[-1].body["messages"] == [USER]


def test_a_history_starts_a_session_and_only_a_message_goes_on_with_it(
    house: House, ada: Signed
) -> None:
    history = [SYSTEM, USER, ASSISTANT, USER | {"content": "and now?"}]
    session = post(house, ada, {"messages": history}).json()["session_id"]
    assert house.provider.asks[-1].body["messages"] == history
    refused = post(house, ada, {"messages": history, "session_id": session})
    body = problem(refused, 409, "conflict", more={"errors"})
    assert "send `message`" in body["detail"]
    assert post(house, ada, {"message": "more", "session_id": session}).status_code == 200
    said = [{"role": "assistant", "content": "Hello world"}, {"role": "user", "content": "more"}]
    assert house.provider.asks[-1].body["messages"] == [*history, *said]


def test_a_session_is_named_once_and_known_by_its_id_too(house: House, ada: Signed) -> None:
    name = "Az09._:-"
    first = post(house, ada, {"message": "hi", "session_id": name})
    id_ = first.json()["session_id"]
    assert first.headers["x-session-id"] == id_ != name
    for again in (name, id_, id_.upper()):
        answer = post(house, ada, {"message": "hi", "session_id": again})
        assert answer.json()["session_id"] == id_
    other = post(house, ada, {"message": "hi", "session_id": name.lower()})
    assert other.json()["session_id"] != id_


@pytest.mark.parametrize(
    "id_", [NOBODYS_ID, NOBODYS_ID.upper(), "F" * 8 + "-ffff" * 3 + "-" + "f" * 12]
)
def test_what_has_an_ids_shape_is_never_a_name(house: House, somebody: Signed, id_: str) -> None:
    answer = post(house, somebody, {"message": "hi", "session_id": id_})
    problem(answer, 404, "not_found")
    assert query(house.server, "SELECT 1 FROM sessions WHERE lower(name) = ?", id_.lower()) == []


@pytest.mark.parametrize("name", ["x" * 128, "meme", "Me", "somebody1", "0"])
def test_other_names_are_free(house: House, somebody: Signed, name: str) -> None:
    assert post(house, somebody, {"message": "hi", "session_id": name}).status_code == 200


STREAM: Final = "text/event-stream; charset=utf-8"


@pytest.mark.parametrize(
    ("stream", "media_type"),
    [
        ({}, "application/json"),
        ({"stream": False}, "application/json"),
        ({"stream": None, "params": {"stream": None}}, "application/json"),
        ({"stream": True}, STREAM),
        ({"params": {"stream": True}}, STREAM),
        ({"params": {"stream": False}}, "application/json"),
        ({"stream": True, "params": {"stream": True}}, STREAM),
        ({"stream": True, "format": "events"}, STREAM),
    ],
    ids=str,
)
def test_chat_streams_when_it_is_told_to(
    house: House, somebody: Signed, stream: dict[str, Any], media_type: str
) -> None:
    answer = post(house, somebody, {"message": "hi"} | stream)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type


@pytest.mark.parametrize("path", DOORS)
@pytest.mark.parametrize("stream", [True, False])
def test_contradicting_words_about_the_stream_are_refused(
    house: House, somebody: Signed, path: str, *, stream: bool
) -> None:
    body = {"message": "hi", "stream": stream, "params": {"stream": not stream}}
    assert "contradict" in refused_field(post(house, somebody, body, path), "body")


@pytest.mark.parametrize("stream", [{"stream": False}, {"params": {"stream": False}}], ids=str)
def test_generate_does_nothing_but_stream(
    house: House, somebody: Signed, stream: dict[str, Any]
) -> None:
    asked = len(house.provider.asks)
    answer = post(house, somebody, {"message": "hi"} | stream, "/api/generate")
    assert "POST /chat" in refused_field(answer, "stream")
    assert len(house.provider.asks) == asked
    for said in ({}, {"stream": True}, {"params": {"stream": True}}):
        answer = post(house, somebody, {"message": "hi"} | said, "/api/generate")
        assert answer.headers["content-type"] == STREAM


def test_an_unknown_model_is_refused_and_the_known_ones_named(
    house: House, somebody: Signed
) -> None:
    answer = post(house, somebody, {"message": "hi", "model": "chat/none"})
    body = problem(answer, 422, "unknown_model", more={"errors"})
    assert [error["field"] for error in body["errors"]] == ["model"]
    assert "chat/test" in body["detail"]


@pytest.mark.parametrize("model", ["chat/test", "test"])
def test_a_model_is_asked_for_by_its_alias_or_its_own_name(
    house: House, somebody: Signed, model: str
) -> None:
    answer = post(house, somebody, {"message": "hi", "model": model}).json()
    assert (answer["model"], answer["provider_model"]) == ("chat/test", "test")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer garbage"}], ids=["none", "bad"])
def test_generate_in_a_browser_says_how_to_ask(house: House, headers: dict[str, str]) -> None:
    answer = house.http.get("/api/generate?token=secret", headers=headers)
    body = problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert f"curl -N {house.server.url}/api/generate -H 'Authorization: Bearer" in body["detail"]
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "body",
    [{f"k{number}": 0 for number in range(70_000)}, {"messages": [0] * 300_000}],
    ids=["fields", "messages"],
)
def test_a_body_full_of_faults_is_refused_in_few_words(
    house: House, somebody: Signed, body: dict[str, Any]
) -> None:
    answer = post(house, somebody, body)
    errors = problem(answer, 422, "invalid_request", more={"errors"})["errors"]
    assert 1 <= len(errors) <= 20
    assert len(answer.content) < 10_000
