"""What goes wrong under /v1: the shape, the status, and what the official client raises."""

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from provider import Answer
from serving import Signed
from surface import COMPLETIONS, HELLO, MODEL, Surface, chunks_of, text_of
from wire import Serve

SETTINGS = {"max_message_length": 50, "max_body_bytes": 20_000, "headers_after_seconds": 0.3}
KEY_REFUSED = Answer(status=401, error_message="Incorrect API key provided: sk-provider")


def error_of(response: Any) -> dict[str, Any]:
    assert response.headers["content-type"] == "application/json"
    [(name, error)] = response.json().items()
    assert name == "error"
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize("key", ["wrong", "rnl_" + "x" * 43])
def test_a_wrong_key_is_an_authentication_error(v1: Surface, key: str) -> None:
    with v1.signed_in(key) as client, pytest.raises(openai.AuthenticationError) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "invalid_request_error")
    assert caught.value.response.headers["www-authenticate"] == "Bearer"


def test_no_key_is_refused_before_the_body_is_read(v1: Surface) -> None:
    response = v1.http.post(COMPLETIONS, content=b"nonsense", headers={"Authorization": ""})
    assert response.status_code == 401
    assert error_of(response)["code"] == "invalid_api_key"


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-nobody", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert caught.value.type == "invalid_request_error"


def test_a_model_that_cannot_be_asked_is_unavailable(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="chat/keyless", messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (503, "model_unavailable")
    assert caught.value.response.headers["retry-after"]


@pytest.mark.parametrize("path", ["", "/", "/embeddings", "/chat/completions/", "/chat"])
def test_an_unknown_path_is_not_found(v1: Surface, path: str) -> None:
    response = v1.http.post(f"/v1{path}", json={})
    assert response.status_code == 404
    assert error_of(response)["code"] == "not_found"


def test_another_method_is_not_allowed(v1: Surface) -> None:
    response = v1.http.get(COMPLETIONS)
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert error_of(response)["code"] == "method_not_allowed"


def test_what_only_begins_alike_has_the_shape_of_elsewhere(v1: Surface) -> None:
    response = v1.http.get("/v10/models")
    assert response.headers["content-type"] == "application/problem+json"


def test_the_shape_is_the_same_behind_a_prefix(serve: Serve) -> None:
    with httpx.Client(base_url=serve(root_path="/runnel").url) as http:
        for path in ("/v1/models", "/runnel/v1/models", "/v1/chat/completions/x"):
            assert set(http.get(path).json()) == {"error"}
        problems = [http.get(path).json() for path in ("/me", "/runnel/me", "/runnel/v1x")]
    assert all("error" not in problem for problem in problems)


def test_a_message_over_the_bound_is_too_large(v1: Surface) -> None:
    long: list[Any] = [{"role": "user", "content": "x" * 51}]
    response = v1.post(messages=long)
    assert response.status_code == 413
    assert error_of(response)["code"] == "message_too_long"
    assert error_of(response)["param"] == "messages"
    # It holds for what the user says now, and for nothing else.
    assert v1.post(messages=[*long, *HELLO]).status_code == 200
    tool = {"role": "tool", "tool_call_id": "c", "content": "x" * 51}
    assert v1.post(messages=[*HELLO, tool]).status_code == 200


def test_a_body_over_the_bound_is_too_large(v1: Surface) -> None:
    response = v1.post(messages=[{"role": "system", "content": "x" * 20_000}, *HELLO])
    assert response.status_code == 413
    assert error_of(response)["code"] == "payload_too_large"


Fault = tuple[str, Answer, int, str, type[openai.APIStatusError]]
#: What the provider does, and what comes of it: status, code, and what the client raises.
FAULTS: list[Fault] = [
    ("fails", Answer(status=500), 502, "upstream_error", openai.InternalServerError),
    ("refuses", Answer(status=400), 502, "upstream_error", openai.InternalServerError),
    ("refuses the key", KEY_REFUSED, 502, "upstream_error", openai.InternalServerError),
    (
        "is overloaded",
        Answer(status=429, headers={"retry-after": "7"}),
        429,
        "upstream_rate_limited",
        openai.RateLimitError,
    ),
    ("hangs up", Answer((), cut_after=0), 502, "upstream_incomplete", openai.InternalServerError),
    (
        "has no end",
        Answer((), finish_reason=None, done=False),
        502,
        "upstream_incomplete",
        openai.InternalServerError,
    ),
]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("fault", FAULTS, ids=[name for name, *_ in FAULTS])
def test_a_fault_before_the_first_token_is_a_status(
    v1: Surface,
    client: OpenAI,
    fault: Fault,
    *,
    stream: bool,
) -> None:
    _, answer, status, code, kind = fault
    v1.provider.answer("test", answer)
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO, stream=stream)
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert "sk-provider" not in caught.value.response.text
    if code == "upstream_rate_limited":
        assert caught.value.response.headers["retry-after"] == "7"
    assert v1.ended()[0] == "failed"


def test_the_client_asks_again_only_where_that_may_help(v1: Surface) -> None:
    with v1.signed_in(v1.user.token, max_retries=1) as client:
        for answer, asks in ((KEY_REFUSED, 1), (Answer(status=500, headers={}), 2)):
            before = len(v1.provider.asks)
            v1.provider.answer("test", answer)
            with pytest.raises(openai.InternalServerError):
                client.chat.completions.create(model=MODEL, messages=HELLO)
            assert len(v1.provider.asks) == before + asks


def test_a_fault_in_mid_stream_is_an_error_chunk_and_the_end(v1: Surface) -> None:
    v1.provider.answer("test", Answer(("Hel", "lo"), cut_after=2))
    *chunks, last = chunks_of(v1.post(stream=True).content)
    assert text_of(chunks) == "Hello"
    assert {chunk["choices"][0]["finish_reason"] for chunk in chunks} == {None}
    error = last["error"]
    assert set(last) == {"error"}
    assert (error["type"], error["param"], error["code"]) == (
        "server_error",
        None,
        "upstream_incomplete",
    )
    assert v1.ended() == ("failed", "Hello", None, "upstream_incomplete")


def test_the_official_client_raises_it(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", Answer(("Hel", "lo"), cut_after=2))
    read: list[str] = []
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as caught:
        read.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert not isinstance(caught.value, openai.APIStatusError)
    assert caught.value.code == "upstream_incomplete"
    assert v1.ended()[1] == "Hello"


def test_a_fault_after_the_headers_is_an_error_chunk_too(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", Answer(gate_after=0, cut_after=0))
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    v1.provider.release()
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "upstream_incomplete"


def test_a_whole_answer_that_breaks_off_is_a_status(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", Answer(("Hel", "lo"), cut_after=2))
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=MODEL, messages=HELLO)
    assert (caught.value.status_code, caught.value.code) == (502, "upstream_incomplete")


def test_what_is_begun_anew_in_mid_stream_is_an_error_and_the_end(
    v1: Surface, client: OpenAI
) -> None:
    v1.provider.answer("test", Answer(("void",), cut_after=1))
    v1.provider.answer("other", Answer(("never", " whole"), gate_after=1))
    read: list[str] = []
    left = v1.provider.client_left.value
    stream = client.chat.completions.create(model="chat/restarting", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as caught:
        read.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert caught.value.code == "interrupted"
    # Nobody can read what the other model says, so that it is not made to its end.
    v1.provider.client_left.wait_at_least(left + 1, timeout=1)
    assert v1.ended()[::2] == ("aborted", "disconnect")


def test_what_is_begun_anew_before_anything_was_sent_is_no_error(v1: Surface) -> None:
    v1.provider.answer("test", Answer(status=500))
    v1.provider.answer("other", Answer(("all", " well")))
    chunks = chunks_of(v1.post(model="chat/restarting", stream=True).content)
    assert text_of(chunks) == "all well"


def test_who_is_disabled_is_told_that_the_answer_was_cut(v1: Surface, client: OpenAI) -> None:
    v1.provider.answer("test", Answer(("half", " whole"), gate_after=1))
    stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
    assert next(stream).choices[0].delta.role == "assistant"
    assert next(stream).choices[0].delta.content == "half"
    v1.server.call(v1.server.server.administration.disable(v1.user.username))
    rest = list(stream)
    assert rest[-1].choices[0].finish_reason == "aborted"


def test_a_login_that_ends_ends_its_stream_with_an_error(v1: Surface) -> None:
    v1.provider.answer("test", Answer(("half", " whole"), gate_after=1))
    left = v1.provider.client_left.value
    leaving = _login(v1, v1.user)
    with v1.signed_in(leaving) as client:
        stream = client.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "half"]
        headers = {"Authorization": f"Bearer {leaving}"}
        v1.http.post("/logout", headers=headers).raise_for_status()
        with pytest.raises(openai.APIError) as caught:
            list(stream)
    assert caught.value.code == "interrupted"
    v1.provider.client_left.wait_at_least(left + 1, timeout=1)
    assert v1.ended() == ("aborted", "half", "disconnect", None)


def _login(v1: Surface, user: Signed) -> str:
    body = {"username": user.username, "password": user.password}
    return str(v1.http.post("/login", json=body).raise_for_status().json()["access_token"])
