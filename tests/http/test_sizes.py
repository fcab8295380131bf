"""How large a question, a message and a body may be, and what is read as JSON."""

from typing import Final

import pytest

from serving import Signed
from wire import House, ask, bearer, problem, query, refused_field

MIB: Final = 1024 * 1024
JSON: Final = {"Content-Type": "application/json"}


@pytest.mark.parametrize("character", ["x", "\u00e9", "\N{GRINNING FACE}"])
def test_the_longest_message_is_counted_in_characters(
    house: House, ada: Signed, character: str
) -> None:
    assert ask(house, ada, message=character * 5000).status_code == 200
    for path in ("/chat", "/api/generate"):
        answer = ask(house, ada, path, message=character * 5001)
        assert "5001" in problem(answer, 413, "message_too_long")["detail"]


def test_the_length_of_the_new_message_alone_is_bounded(house: House, ada: Signed) -> None:
    history = [{"role": "user", "content": "x" * 6000}, {"role": "assistant", "content": "y"}]
    question = {"role": "user", "content": "z" * 5000}
    answer = ask(house, ada, message=None, messages=[*history, question])
    assert answer.status_code == 200
    question["content"] += "z"
    problem(ask(house, ada, message=None, messages=[*history, question]), 413, "message_too_long")


def test_a_refused_message_leaves_nothing_behind(house: House, ada: Signed) -> None:
    ask(house, ada, message="x" * 5001, session_id="too-long-a-question")
    found = query(
        house.server, "SELECT count(*) FROM sessions WHERE name = ?", "too-long-a-question"
    )
    assert found == [(0,)]


def padded(size: int) -> bytes:
    """A good question of so many bytes, most of them white space."""
    return b'{"message": "hi"}'.ljust(size)


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
@pytest.mark.parametrize("path", ["/chat", "/api/generate", "/login", "/token", "/api/keys"])
def test_a_body_over_one_mib_is_refused(
    house: House, ada: Signed, path: str, *, chunked: bool
) -> None:
    body = padded(MIB + 1)
    content = iter([body[:MIB], body[MIB:]]) if chunked else body
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    headers = ada.headers | (form if path == "/token" else JSON)
    answer = house.http.post(path, content=content, headers=headers)
    assert ("content-length" in answer.request.headers) is not chunked
    problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_a_body_of_one_mib_is_taken(house: House, ada: Signed, *, chunked: bool) -> None:
    body = padded(MIB)
    content = iter([body[:7], body[7:]]) if chunked else body
    assert house.http.post("/chat", content=content, headers=ada.headers | JSON).status_code == 200


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 65 + b"]" * 65,
        b"[" * 100_000,
        b'{"message":' * 65 + b"1" + b"}" * 65,
        b'{"message": "hi", "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    ],
    ids=["lists", "open lists", "objects", "in a field"],
)
def test_json_that_is_too_deep_is_refused(house: House, ada: Signed, content: bytes) -> None:
    refused_field(house.http.post("/chat", content=content, headers=ada.headers | JSON), "body")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" ",
        b"{",
        b'{"message": "hi"',
        b'{"message": "hi"}}',
        b'{"message": "\xff\xfe"}',
        b'{"message": "hi", "params": {"temperature": NaN}}',
        b'{"message": "hi", "params": {"temperature": Infinity}}',
        b"null",
        b"true",
        b"1",
        b'"hi"',
        b"[]",
        b'[{"message": "hi"}]',
        b"9" * 5000,
        b"\0",
    ],
)
def test_what_is_no_json_object_is_refused(house: House, ada: Signed, content: bytes) -> None:
    answer = house.http.post("/chat", content=content, headers=ada.headers | JSON)
    refused_field(answer, "body")


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b'{"message": "hi", "params": {"temperature": 1e999}}', "params.temperature"),
        (b'{"message": "hi", "params": {"temperature": %d}}' % 10**400, "params.temperature"),
        (b'{"message": "hi", "params": {"seed": %d}}' % 10**400, "params.seed"),
        (b'{"message": "hi", "params": {"seed": %d}}' % 2**64, "params.seed"),
        (b'{"message": "hi", "params": {"max_tokens": 1e30}}', "params.max_tokens"),
        (b'{"message": "hi", "params": {"max_tokens": 1.5}}', "params.max_tokens"),
    ],
    ids=["infinite", "400 digits", "seed of 400 digits", "seed", "exponent", "fraction"],
)
def test_a_number_that_is_too_large_is_refused(
    house: House, ada: Signed, content: bytes, field: str
) -> None:
    answer = house.http.post("/chat", content=content, headers=ada.headers | JSON)
    refused_field(answer, field)


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "\xff", ";;", "json"]
)
def test_what_is_not_said_to_be_json_is_refused_with_advice(
    house: House, ada: Signed, content_type: str | None
) -> None:
    headers = [(b"Authorization", f"Bearer {ada.token}".encode())]
    if content_type is not None:
        headers.append((b"Content-Type", content_type.encode("latin-1")))
    answer = house.http.post("/chat", content=b'{"message": "hi"}', headers=headers)
    assert "Content-Type: application/json" in refused_field(answer, "body")


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_what_is_said_to_be_json_is_read(house: House, ada: Signed, content_type: str) -> None:
    headers = bearer(ada.token) | {"Content-Type": content_type}
    answer = house.http.post("/chat", content=b'{"message": "hi"}', headers=headers)
    assert answer.status_code == 200


def test_lone_surrogates_and_nul_are_kept_as_replacements(house: House, ada: Signed) -> None:
    content = rb'{"message": "a\ud800b\udc00\u0000c \ud83d\ude00"}'
    answer = house.http.post("/chat", content=content, headers=ada.headers | JSON)
    assert answer.status_code == 200
    ((kept,),) = query(
        house.server,
        "SELECT content FROM messages WHERE id = ?",
        answer.headers["x-user-message-id"],
    )
    assert kept == "a\ufffdb\ufffd\ufffdc \N{GRINNING FACE}"


def test_of_duplicate_keys_the_last_one_holds(house: House, ada: Signed) -> None:
    content = b'{"message": "first", "message": "second"}'
    answer = house.http.post("/chat", content=content, headers=ada.headers | JSON)
    assert answer.status_code == 200
    assert house.provider.asks[-1].body["messages"][-1]["content"] == "second"


@pytest.mark.parametrize("path", ["/login", "/register", "/refresh"])
def test_whoever_is_not_signed_in_sends_only_small_bodies(house: House, path: str) -> None:
    answer = house.http.post(path, json={"refresh_token": "x" * 33_000})
    problem(answer, 413, "payload_too_large")


@pytest.mark.parametrize("place", ["body", "params"])
def test_a_body_full_of_unknown_fields_is_refused_before_each_is_looked_at(
    house: House, ada: Signed, place: str
) -> None:
    many = {str(number): 1 for number in range(70_000)}
    body = many if place == "body" else {"message": "hi", "params": many}
    answer = house.http.post("/chat", json=body, headers=ada.headers)
    said = problem(answer, 422, "invalid_request", more={"errors"})
    assert "over 512 fields" in said["detail"]
