"""What a key is good for: whose it is, which question it means, how long it holds, what comes first."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from json import dumps
from pathlib import Path
from typing import Any

import httpx
import pytest

from provider import Answer, Provider
from reading import Incoming
from serving import Signed
from standing import Json, Standing, standing
from wire import NOBODYS_ID, Serve, problem, query, refused_field

GENERATE = "/api/generate"
CHAT = "/chat"
KEY = "Idempotency-Key"
PARAMS: Json = {"temperature": 0.5, "top_p": 0.5, "max_tokens": 5, "seed": 1, "stop": ["x", "y"]}
ASK: Json = {
    "message": "?",
    "model": "chat/test",
    "session_id": "one",
    "params": PARAMS | {"json_mode": False},
}
_numbers = count(1)


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("keys")) as there:
        there.provider.answer("test", Answer(["Hello"]))
        yield there


@pytest.fixture
def ana(stand: Standing) -> Signed:
    """A user of the test's own, so that its keys and sessions are."""
    return stand.server.user(f"user{next(_numbers)}")


def post(
    stand: Standing, who: Signed, body: Json, key: str | bytes | None = "k", path: str = CHAT
) -> httpx.Response:
    headers: dict[str, Any] = {**who.headers} if key is None else {**who.headers, KEY: key}
    return stand.client.post(path, json=body, headers=headers)


def generations(stand: Standing, who: Signed) -> int:
    shown = stand.client.get("/api/generations?limit=100", headers=who.headers).json()
    return len(shown["generations"])


def answered(response: httpx.Response) -> str:
    """The generation's id in an answer that is whole."""
    assert response.status_code == 200, response.text
    return response.headers["X-Generation-Id"]


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (CHAT, {"stream": True}),
        (CHAT, {"params": ASK["params"] | {"stream": True}}),
        (CHAT, {"params": ASK["params"] | {"stream": False}}),
        (GENERATE, {}),
        (GENERATE, {"format": "events"}),
        (GENERATE, {"on_disconnect": "abort"}),
        (CHAT, {"on_disconnect": "continue"}),
        (CHAT, {"message": None, "prompt": "?"}),
        (CHAT, {"client_message_id": "k"}),
    ],
)
def test_how_it_is_delivered_does_not_make_another_question(
    stand: Standing, ana: Signed, path: str, change: Json
) -> None:
    first = answered(post(stand, ana, ASK))
    assert answered(post(stand, ana, ASK | change, path=path)) == first
    assert generations(stand, ana) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"message": "??"},
        {"message": None, "messages": [{"role": "user", "content": "?"}]},
        {"model": "test"},
        {"model": None},
        {"session_id": "two"},
        {"session_id": None},
        {"params": PARAMS | {"temperature": 0.6}},
        {"params": PARAMS | {"top_p": 0.6}},
        {"params": PARAMS | {"max_tokens": 6}},
        {"params": PARAMS | {"seed": None}},
        {"params": PARAMS | {"stop": ["xy"]}},
        {"params": PARAMS | {"stop": ["y", "x"]}},
        {"params": PARAMS | {"json_mode": True}},
        {"params": {}},
    ],
    ids=dumps,
)
def test_another_question_with_the_key_is_refused_and_leaves_nothing(
    stand: Standing, ana: Signed, change: Json
) -> None:
    answered(post(stand, ana, ASK))
    asks = len(stand.provider.asks)
    for path, delivery in ((CHAT, {}), (GENERATE, {}), (CHAT, {"background": True})):
        refused = post(stand, ana, ASK | change | delivery, path=path)
        problem(refused, 409, "idempotency_conflict")
        assert "x-generation-id" not in refused.headers
    assert generations(stand, ana) == 1
    assert len(stand.provider.asks) == asks
    name = "SELECT count(*) FROM sessions JOIN users ON users.id = user_id WHERE users.name = "
    assert stand.rows(f"{name}'{ana.username}'") == [(1,)]


def test_another_history_is_another_question(stand: Standing, ana: Signed) -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    asked: Json = {"messages": [*turns, {"role": "user", "content": "?"}]}
    first = answered(post(stand, ana, asked))
    assert answered(post(stand, ana, asked)) == first
    for other in (turns[:1], turns[::-1], [*turns, *turns], [turns[0] | {"role": "system"}]):
        body = {"messages": [*other, {"role": "user", "content": "?"}]}
        problem(post(stand, ana, body), 409, "idempotency_conflict")


def test_header_and_body_are_the_same_key(stand: Standing, ana: Signed) -> None:
    first = answered(post(stand, ana, {"message": "?"}, "same"))
    for key, body in (
        ("same", {"client_message_id": "same"}),
        (None, {"client_message_id": "same"}),
    ):
        assert answered(post(stand, ana, {"message": "?"} | body, key)) == first
    different = post(stand, ana, {"message": "?", "client_message_id": "other"}, "same")
    refused_field(different, "client_message_id")
    assert generations(stand, ana) == 1


@pytest.mark.parametrize(
    "key", ["", "x" * 256, "a\tb", "é"], ids=["empty", "long", "tab", "not ascii"]
)
def test_an_unfit_key_is_refused_by_its_name(stand: Standing, ana: Signed, key: str) -> None:
    body = post(stand, ana, {"message": "?", "client_message_id": key}, None)
    refused_field(body, "client_message_id")
    refused_field(post(stand, ana, {"message": "?"}, key.encode("latin-1")), KEY)
    assert generations(stand, ana) == 0


@pytest.mark.parametrize(
    "key", [" ", " a", "a ", "a\n", "a\r\nb", "\0", "\x7f", "\ud800", "ключ"], ids=ascii
)
def test_what_no_header_could_say_is_no_key_in_a_body_either(
    stand: Standing, ana: Signed, key: str
) -> None:
    content = dumps({"message": "?", "client_message_id": key})
    headers = ana.headers | {"Content-Type": "application/json"}
    refused_field(stand.client.post(CHAT, content=content, headers=headers), "client_message_id")


@pytest.mark.parametrize("key", ["k" * 255, "a b", "!~", NOBODYS_ID], ids=lambda key: key[:3])
def test_any_other_visible_ascii_is_a_key(stand: Standing, ana: Signed, key: str) -> None:
    first = answered(post(stand, ana, {"message": "?"}, key))
    assert answered(post(stand, ana, {"message": "?", "client_message_id": key}, None)) == first


def test_the_same_key_of_two_users_is_two_keys(stand: Standing, ana: Signed) -> None:
    bea = stand.server.user(f"bea of {ana.username}".replace(" ", "-"))
    mine = answered(post(stand, ana, {"message": "mine"}))
    hers = answered(post(stand, bea, {"message": "hers"}))
    assert mine != hers
    again = post(stand, ana, {"message": "mine"})
    assert answered(again) == mine
    problem(post(stand, ana, {"message": "hers"}), 409, "idempotency_conflict")


REFUSED: list[tuple[str, Json, int]] = [
    (CHAT, {"message": ""}, 422),
    (CHAT, {"message": "?", "temperature": 1}, 422),
    (CHAT, {"message": "x" * 5001}, 413),
    (CHAT, {"message": "x" * 2_000_000}, 413),
    (CHAT, {"message": "?", "model": "nobody"}, 422),
    (CHAT, {"message": "?", "session_id": NOBODYS_ID}, 404),
    (CHAT, {"message": "?", "session_id": "me"}, 422),
    (GENERATE, {"prompt": "?", "stream": False}, 422),
    (CHAT, {"messages": [{"role": "user", "content": "?"}], "session_id": "full"}, 409),
]


@pytest.mark.parametrize(("path", "body", "status"), REFUSED)
def test_a_refused_ask_uses_up_no_key(
    stand: Standing, ana: Signed, path: str, body: Json, status: int
) -> None:
    answered(post(stand, ana, {"message": "first", "session_id": "full"}, None))
    assert post(stand, ana, body, path=path).status_code == status
    assert answered(post(stand, ana, {"message": "good"}))
    assert generations(stand, ana) == 2


def test_a_re_send_is_no_second_ask_of_its_session_but_a_new_key_is(
    stand: Standing, ana: Signed
) -> None:
    stand.provider.hold()
    stand.provider.answer("test", Answer(["Hello", "!"], gate_after=1))
    body = {"message": "?", "session_id": "one"}
    with stand.client.stream(
        "POST", GENERATE, json=body, headers=ana.headers | {KEY: "k"}
    ) as response:
        reader = Incoming(response.iter_raw())
        reader.until(b"Hello")
        generation_id = response.headers["X-Generation-Id"]
        accepted = post(stand, ana, body | {"background": True})
        assert (accepted.status_code, accepted.json()["generation_id"]) == (202, generation_id)
        for busy in (post(stand, ana, body, "new"), post(stand, ana, body, None)):
            facts = problem(busy, 409, "busy", more={"generation_id", "events_url", "abort_url"})
            assert facts["generation_id"] == generation_id
            assert int(busy.headers["retry-after"]) >= 1
            path = f"/api/generations/{generation_id}"
            assert (facts["events_url"], facts["abort_url"]) == (f"{path}/events", f"{path}/abort")
        # What the key means is looked at before whether there is room.
        problem(post(stand, ana, body | {"message": "!"}), 409, "idempotency_conflict")
        stand.provider.release()
        reader.rest()
    stand.provider.answer("test", Answer(["Hello"]))
    assert answered(post(stand, ana, body, "new")) != generation_id  # "busy" took no key


def test_each_re_send_counts_against_the_limit_and_is_refused_by_it(
    serve: Serve, provider: Provider
) -> None:
    server = serve(models=models(provider), rate_limit_messages_per_minute=2)
    ana = server.user("ana")
    with httpx.Client(base_url=server.url, headers=ana.headers | {KEY: "k"}) as client:
        first, second, third = (client.post(CHAT, json={"message": "?"}) for _ in "123")
    assert answered(first) == answered(second)
    assert second.headers["x-ratelimit-remaining"] == "0"
    problem(third, 429, "rate_limited")
    assert len(provider.asks) == 1


@pytest.mark.parametrize(("age", "kept"), [(86_340, True), (86_460, False)])
def test_a_key_holds_for_a_day(stand: Standing, ana: Signed, age: int, *, kept: bool) -> None:
    first = answered(post(stand, ana, {"message": "?"}))
    moment = datetime.now(UTC) - timedelta(seconds=age)
    query(
        stand.server,
        "UPDATE generations SET created_at = ? WHERE id = ?",
        moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
        first,
    )
    other = post(stand, ana, {"message": "another"})
    if kept:
        problem(other, 409, "idempotency_conflict")
        assert answered(post(stand, ana, {"message": "?"})) == first
    else:
        assert answered(post(stand, ana, {"message": "another"})) == answered(other) != first
        problem(post(stand, ana, {"message": "?"}), 409, "idempotency_conflict")
        # The old answer is there still.
        shown = stand.client.get(f"/api/generations/{first}", headers=ana.headers).json()
        assert shown["text"] == "Hello"


def models(provider: Provider) -> Json:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    return {"aliases": {"chat/test": alias}}
