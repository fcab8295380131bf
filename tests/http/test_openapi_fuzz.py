"""Whatever is sent, it is never the server's fault: requests made from our own OpenAPI document."""

import json
from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import quote

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode

from provider import Provider
from serving import Signed
from wire import House, bearer

#: They change or end the account or the login that they are called with.
FATAL: Final = {("POST", "/logout"), ("DELETE", "/me"), ("POST", "/me/password")}
COMPLETIONS: Final = "/v1/chat/completions"
#: It always streams.
STREAMING: Final = "^/api/generate$"
bounded = settings(
    max_examples=13,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@pytest.fixture
def admin(house: House) -> str:
    return house.server.call(house.server.server.administration.issue_token("admin"))


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def is_nobodys_fault(answer: httpx.Response | schemathesis.Response, path: str = "") -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400 and path.startswith("/v1/"):
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    elif answer.status_code >= 400:
        # Schemathesis has a list for every header.
        assert "application/problem+json" in answer.headers["content-type"]
        assert set(answer.json()) >= {"type", "title", "status", "detail", "code", "request_id"}


def without_stream(case: Case[Any]) -> Case[Any]:
    """A question that is answered in JSON, whatever else it holds."""
    if case.operation.path in ("/chat", COMPLETIONS) and isinstance(case.body, dict):
        case.body["stream"] = False
        params = cast("dict[str, Any]", case.body).get("params")
        if isinstance(params, dict):
            cast("dict[str, Any]", params).pop("stream", None)
    return case


def fuzz(
    house: House,
    session: requests.Session,
    cases: st.SearchStrategy[Case[Any]],
    headers: dict[str, str],
) -> None:
    @bounded
    @given(cases)
    def call(case: Case[Any]) -> None:
        url = house.server.url
        answer = without_stream(case).call(base_url=url, headers=headers, session=session)
        is_nobodys_fault(answer, case.operation.path)

    call()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_no_request_made_from_the_document_is_the_servers_fault(
    house: House, admin: str, session: requests.Session, mode: GenerationMode
) -> None:
    document = house.http.get("/openapi.json").json()
    whole: Any = schemathesis.openapi.from_dict(document)  # Any: its types are half unknown
    schema = whole.exclude(path_regex=STREAMING)
    called = list[tuple[str, str]]()
    for result in schema.get_all_operations():
        operation = result.ok()
        route = (operation.method.upper(), operation.path)
        called.append(route)
        token = house.server.user(f"throwaway-{mode.value}-{len(called)}").token
        headers = bearer(token if route in FATAL else admin)

        if mode is GenerationMode.NEGATIVE and not operation.body:
            continue  # a route that takes nothing takes nothing wrong
        fuzz(house, session, operation.as_strategy(generation_mode=mode), headers)
    assert set(called) > FATAL
    assert house.http.get("/me", headers=bearer(admin)).status_code == 200
    house.settle()


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)


def bodies(*names: str) -> st.SearchStrategy[object]:
    """Any JSON, and objects of the right names with any values."""
    return st.dictionaries(st.sampled_from(names), JSON, max_size=len(names)) | JSON


@pytest.mark.parametrize(
    ("path", "strategy"),
    [
        (
            "/chat",
            bodies("message", "prompt", "messages", "params", "model", "session_id", "format"),
        ),
        (
            "/chat",
            st.fixed_dictionaries(
                {
                    "message": st.text(),
                    "params": bodies(
                        "temperature", "top_p", "max_tokens", "seed", "stop", "json_mode"
                    ),
                }
            ),
        ),
        (
            COMPLETIONS,
            st.fixed_dictionaries(
                {
                    "model": st.just("chat/test"),
                    "messages": st.just([{"role": "user", "content": "hi"}]),
                },
                optional=dict.fromkeys(
                    ("tools", "tool_choice", "response_format", "logit_bias", "stop", "n"), JSON
                ),
            ),
        ),
        (COMPLETIONS, bodies("model", "messages", "stream_options", "metadata", "temperature")),
        (
            COMPLETIONS,
            st.fixed_dictionaries(
                {
                    "model": st.just("chat/test"),
                    "messages": st.lists(
                        bodies("role", "content", "tool_calls", "tool_call_id", "name")
                        | st.fixed_dictionaries(
                            {
                                "role": st.sampled_from(["user", "assistant", "tool"]),
                                "content": JSON,
                            },
                            optional={"tool_calls": JSON, "tool_call_id": st.text()},
                        ),
                        max_size=3,
                    ),
                }
            ),
        ),
        ("/login", bodies("username", "password")),
        ("/refresh", bodies("refresh_token")),
        ("/api/tickets", bodies("generation_id", "websocket")),
    ],
    ids=["chat", "params", "v1", "v1 fields", "v1 messages", "login", "refresh", "tickets"],
)
def test_no_json_is_the_servers_fault(
    house: House, admin: str, path: str, strategy: st.SearchStrategy[object]
) -> None:
    headers = bearer(admin) | {"Content-Type": "application/json"}

    @settings(bounded, max_examples=60)
    @given(strategy)
    def post(body: object) -> None:
        # Python's own encoder: NaN, Infinity and lone surrogates go out as it writes them.
        is_nobodys_fault(house.http.post(path, content=json.dumps(body), headers=headers), path)

    post()
    house.settle()


def test_no_bytes_are_the_servers_fault(house: House, admin: str) -> None:
    @settings(bounded, max_examples=60)
    @given(st.binary(max_size=200), st.sampled_from(["/chat", "/login", "/token", COMPLETIONS]))
    def send(content: bytes, path: str) -> None:
        kind = "x-www-form-urlencoded" if path == "/token" else "json"
        headers = bearer(admin) | {"Content-Type": f"application/{kind}"}
        is_nobodys_fault(house.http.post(path, content=content, headers=headers), path)

    send()


POSITIONS: Final = st.text(max_size=20) | st.from_regex(r"[0-9]{1,20}-[0-9]{1,20}", fullmatch=True)
#: Numbers only up to a moment: they are waited for.
WAITS: Final = st.floats(max_value=0.01).map(str) | st.text("-.,+einfa \0", max_size=8)
#: What HTTP lets through.
HEADER_BYTES: Final = st.text("\t !0129-\xff", max_size=12).map(
    lambda text: text.strip().encode("latin-1")
)


@pytest.mark.parametrize("background", [False, True], ids=["finished", "running"])
def test_no_way_to_follow_an_answer_is_the_servers_fault(
    house: House, admin: str, gate: Provider, *, background: bool
) -> None:
    if not background:
        gate.release()
    body = {"message": "hi", "model": "chat/gated", "background": background}
    asked = house.http.post("/chat", json=body, headers=bearer(admin)).json()
    path = f"/api/generations/{asked['generation_id']}/events"
    fields = {"after": POSITIONS, "format": POSITIONS, "wait": WAITS}

    @settings(bounded, max_examples=60)
    @given(st.fixed_dictionaries({}, optional=fields), HEADER_BYTES | st.none())
    def follow(params: dict[str, str], last_event_id: bytes | None) -> None:
        headers = [(name.encode(), value.encode()) for name, value in bearer(admin).items()]
        headers.append((b"Accept", b"application/json"))
        if last_event_id is not None:
            headers.append((b"Last-Event-ID", last_event_id))
        is_nobodys_fault(house.http.get(path, params=params, headers=headers))

    follow()


def test_no_cursor_is_the_servers_fault(house: House, admin: str) -> None:
    house.ask(Signed("admin", "", admin))
    parts = st.from_regex(r"[0-9]{1,19}-[0-9a-f-]{30,40}", fullmatch=True) | st.text(max_size=60)

    @settings(bounded, max_examples=100)
    @given(parts, st.integers() | st.text(max_size=5))
    def listed(cursor: str, limit: object) -> None:
        params = {"cursor": cursor, "limit": str(limit)}
        is_nobodys_fault(house.http.get("/api/generations", params=params, headers=bearer(admin)))

    listed()


def test_no_ticket_is_the_servers_fault(house: House) -> None:
    @settings(bounded, max_examples=100)
    @given(st.text(max_size=200), st.text(max_size=40))
    def followed(ticket: str, generation_id: str) -> None:
        path = f"/api/generations/{quote(generation_id, safe='')}/events"
        is_nobodys_fault(house.http.get(path, params={"ticket": ticket}))

    followed()
