"""The same question with the same key, sent again: one answer, joined in whatever state it is."""

import asyncio
import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from provider import BEFORE_HEADERS, Answer
from reading import Incoming, parsed, parsed_events, parsed_text, text_of, without_comments
from standing import Json, Standing, standing
from waiting import until
from wire import but_id, problem

GENERATE = "/api/generate"
DOORS: dict[str, tuple[str, Json]] = {
    "json": ("/chat", {}),
    "text": (GENERATE, {}),
    "events": ("/chat", {"stream": True, "format": "events"}),
    "background": ("/chat", {"background": True}),
}
STREAMS = ["text", "events"]
IDS = ("X-Generation-Id", "X-Session-Id", "X-Message-Id", "X-User-Message-Id")
PIECES = ("Hello", " wor", "ld\n")
WHOLE = "".join(PIECES)
LAST = "1-4"


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("twice")) as there:
        yield there


@pytest.fixture(autouse=True)
def closed_gate(stand: Standing) -> Iterator[None]:
    with stand.gate_closed():
        yield


def body_of(stand: Standing, answer: Answer) -> Json:
    """A question with a key, which nobody else asks."""
    prompt = stand.prompt(answer)
    return {"message": prompt, "client_message_id": prompt}


def post(stand: Standing, door: str, body: Json, after: str | None = None) -> httpx.Response:
    path, delivery = DOORS[door]
    headers = {} if after is None else {"Last-Event-ID": after}
    return stand.client.post(path, json=body | delivery, headers=headers)


def upstream(stand: Standing, body: Json) -> int:
    """How often the provider was asked this."""
    asked = [ask.body["messages"][-1]["content"] for ask in stand.provider.asks]
    return asked.count(body["message"])


def ids_of(response: httpx.Response) -> list[str]:
    return [response.headers[name] for name in IDS]


def said(door: str, response: httpx.Response) -> str:
    """The text in what a door gave; in the background it gives none."""
    match door:
        case "json":
            return response.json()["text"]
        case "text":
            return parsed_text(response.content)
        case "events":
            return text_of(parsed_events(response.content))
        case _:
            assert response.status_code == 202
            return WHOLE


def frames(content: bytes) -> bytes:
    """A stream without heartbeats and its first line, whose number is free."""
    return re.sub(rb"^retry: \d+\n\n", b"", without_comments(content))


@pytest.mark.parametrize("second", DOORS)
@pytest.mark.parametrize("first", DOORS)
def test_after_the_end_every_door_gives_the_first_answer(
    stand: Standing, first: str, second: str
) -> None:
    body = body_of(stand, Answer(PIECES))
    one = post(stand, first, body)
    until(lambda: stand.generation(one.headers["X-Generation-Id"])["status"] == "completed")
    two = post(stand, second, body)
    assert ids_of(one) == ids_of(two)
    assert said(first, one) == said(second, two) == WHOLE
    assert upstream(stand, body) == 1


def test_white_space_around_a_header_is_no_part_of_it(stand: Standing) -> None:
    """No client library sends any; whoever writes their own may."""
    body = body_of(stand, Answer(PIECES))
    body = {"message": body["message"], "stream": True, "format": "events"}

    def asked(*headers: str) -> bytes:
        content = json.dumps(body).encode()
        about = [
            *(f"{name}: {value}" for name, value in stand.user.headers.items()),
            *("Host: x", "Connection: close", "Content-Type: application/json"),
            f"Content-Length: {len(content)}",
        ]
        head = "\r\n".join(["POST /chat HTTP/1.1", *about, *headers, "", ""])
        url = urlsplit(stand.server.url)
        with socket.create_connection((url.hostname, url.port), timeout=30) as sock:
            sock.sendall(head.encode() + content)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    first, second = asked("Idempotency-Key:a key"), asked("Idempotency-Key: \ta key \t")
    rest = asked("Idempotency-Key: a key", "Last-Event-ID: 1-2 ")
    of = re.compile(rb"x-generation-id: (.*)\r\n")
    assert len({*of.findall(first), *of.findall(second), *of.findall(rest)}) == 1
    assert b"\nid: 1-3\n" in rest
    assert b"\nid: 1-2\n" not in rest
    assert upstream(stand, body) == 1
    # And of a stream whose connection was to be closed nothing says that it is kept.
    assert re.findall(rb"(?i)\r\nconnection: (.*)\r\n", first) == [b"close"]


@pytest.mark.parametrize("second", STREAMS)
@pytest.mark.parametrize("first", STREAMS)
def test_while_it_runs_it_is_joined_from_its_beginning(
    stand: Standing, first: str, second: str
) -> None:
    body = body_of(stand, Answer(PIECES, gate_after=2))
    (path, delivery), (path_again, delivery_again) = DOORS[first], DOORS[second]
    with (
        stand.client.stream("POST", path, json=body | delivery) as one,
        stand.client.stream("POST", path_again, json=body | delivery_again) as two,
    ):
        incoming = Incoming(one.iter_raw()), Incoming(two.iter_raw())
        for reader in incoming:
            reader.until(b" wor")
        stand.provider.release()
        bodies = [frames(reader.rest()) for reader in incoming]
    assert ids_of(one) == ids_of(two)
    if first == second:
        assert bodies[0] == bodies[1]
    texts = {parsed_text(b) if b.startswith(b"data") else text_of(parsed_events(b)) for b in bodies}
    assert texts == {WHOLE}
    assert upstream(stand, body) == 1


def readers(stand: Standing) -> int:
    return len(stand.server.server.parts.chat._followers)


async def test_many_who_wait_for_json_are_given_the_same_answer(stand: Standing) -> None:
    body = body_of(stand, Answer(PIECES, gate_after=BEFORE_HEADERS))
    async with stand.server.client(stand.user) as client:
        asks = [asyncio.create_task(client.post("/chat", json=body)) for _ in range(5)]
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        await asyncio.to_thread(until, lambda: readers(stand) == 5)
        stand.provider.release()
        answers = [answer.json() for answer in await asyncio.gather(*asks)]
    assert answers[0]["text"] == WHOLE
    assert answers == [answers[0]] * 5
    assert upstream(stand, body) == 1


REFUSED = Answer(status=429, headers={"retry-after": "7"})
CUT = Answer(PIECES, cut_after=2)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("answer", [REFUSED, CUT], ids=["refused", "cut"])
def test_what_failed_fails_again_in_the_same_words(
    stand: Standing, answer: Answer, door: str
) -> None:
    body = body_of(stand, answer)
    first = post(stand, door, body)
    until(lambda: stand.generation(first.headers["X-Generation-Id"])["status"] == "failed")
    again = post(stand, door, body)
    assert ids_of(again) == ids_of(first)
    assert again.status_code == first.status_code
    assert again.headers.get("retry-after") == first.headers.get("retry-after")
    if door == "background":
        assert again.json()["status"] == "failed"
    elif answer is CUT and door in STREAMS:
        assert frames(again.content) == frames(first.content)
        assert parsed(again.content)[-2].event == "failed"
    else:
        assert but_id(again.json()) == but_id(first.json())
    assert upstream(stand, body) == 1


@pytest.mark.parametrize("door", ["json", *STREAMS])
def test_what_failed_at_once_does_so_again_when_only_its_row_is_left(
    stand: Standing, door: str
) -> None:
    body = body_of(stand, REFUSED)
    first = post(stand, door, body)
    forget_log(stand, first.headers["X-Generation-Id"])
    again = post(stand, door, body)
    facts = {"generation_id", "text"}
    assert but_id(problem(first, 429, "upstream_rate_limited", more=facts)) == but_id(
        problem(again, 429, "upstream_rate_limited", more=facts)
    )
    assert first.headers["retry-after"] == again.headers["retry-after"] == "7"


def forget_log(stand: Standing, generation_id: str) -> None:
    """As retention does, in the server's loop."""

    async def forget() -> None:
        stand.log.drop(generation_id)

    stand.server.call(forget())


def test_what_was_aborted_is_told_as_aborted(stand: Standing) -> None:
    body = body_of(stand, Answer(PIECES, gate_after=1))
    with stand.client.stream("POST", GENERATE, json=body) as response:
        reader = Incoming(response.iter_raw())
        reader.until(b"Hello")
        path = f"/api/generations/{response.headers['X-Generation-Id']}/abort"
        assert stand.client.post(path).json()["status"] == "aborted"
        first = frames(reader.rest())
    assert frames(post(stand, "text", body).content) == first
    assert parsed(first)[-2].event == "aborted"
    answer = post(stand, "json", body)
    assert answer.status_code == 200
    assert (answer.json()["text"], answer.json()["finish_reason"]) == ("Hello", "aborted")
    assert post(stand, "background", body).json()["status"] == "aborted"
    assert upstream(stand, body) == 1


@pytest.mark.parametrize("door", STREAMS)
def test_a_post_with_a_position_goes_on_behind_it(stand: Standing, door: str) -> None:
    body = body_of(stand, Answer(PIECES))
    whole = frames(post(stand, door, body).content)
    for position in [f"1-{offset}" for offset in range(4)]:
        rest = frames(post(stand, door, body, position).content)
        # The `start` is in no frame of the text dialect.
        assert rest == (whole.partition(f"id: {position}\n\n".encode())[2] or whole)
    ended = post(stand, door, body, LAST)
    assert (ended.status_code, ended.content) == (204, b"")
    assert post(stand, "json", body, LAST).json()["text"] == WHOLE  # JSON is given whole
    assert upstream(stand, body) == 1


@pytest.mark.parametrize("door", STREAMS)
def test_a_post_sent_again_in_mid_answer_misses_and_repeats_nothing(
    stand: Standing, door: str
) -> None:
    body = body_of(stand, Answer(PIECES, gate_after=2))
    path, delivery = DOORS[door]
    with stand.client.stream("POST", path, json=body | delivery) as response:
        reader = Incoming(response.iter_raw())
        reader.until(b"id: 1-1\n\n")  # and then the connection is lost
        before = frames(reader.body)
    before = before[: before.index(b"id: 1-1\n\n") + len(b"id: 1-1\n\n")]
    headers = {"Last-Event-ID": "1-1"}
    with stand.client.stream("POST", path, json=body | delivery, headers=headers) as response:
        reader = Incoming(response.iter_raw())
        reader.until(b" wor")
        stand.provider.release()
        rest = frames(reader.rest())
    assert before + rest == frames(post(stand, door, body).content)
    assert upstream(stand, body) == 1


@pytest.mark.parametrize("position", ["1-99", "7-1"])
def test_a_position_that_cannot_be_honoured_is_answered_with_all_of_it(
    stand: Standing, position: str
) -> None:
    body = body_of(stand, Answer(PIECES))
    post(stand, "json", body)
    reset, end = parsed_events(post(stand, "events", body, position).content)
    assert (reset.name, reset.id, reset.data) == ("reset", "1-3", {"text": WHOLE})
    assert (end.name, end.id) == ("end", LAST)


def test_a_position_without_a_key_would_be_another_question_and_is_refused(stand: Standing) -> None:
    prompt = stand.prompt(Answer())
    for path, delivery in DOORS.values():
        refused = stand.client.post(
            path, json={"message": prompt} | delivery, headers={"Last-Event-ID": "1-1"}
        )
        (error,) = problem(refused, 422, "invalid_request", more={"errors"})["errors"]
        assert error["field"] == "Last-Event-ID"
        empty = stand.client.post(
            path, json={"message": prompt} | delivery, headers={"Last-Event-ID": ""}
        )
        assert empty.status_code in {200, 202}  # as EventSource has it before its first event
    malformed = post(stand, "text", body_of(stand, Answer()), "one")
    problem(malformed, 400, "invalid_request", more={"errors"})


@pytest.mark.parametrize("keyed", [True, False])
def test_the_text_dialect_carries_ids_only_for_who_can_come_back(
    stand: Standing, *, keyed: bool
) -> None:
    headers = {"Idempotency-Key": "text-ids"} if keyed else {}
    prompt = stand.prompt(Answer(["a", "b\nc"]))
    response = stand.client.post(GENERATE, json={"prompt": prompt}, headers=headers)
    assert frames(response.content) == (
        b"data: a\nid: 1-1\n\ndata: b\ndata: c\nid: 1-2\n\ndata: [DONE]\nid: 1-3\n\n"
        if keyed
        else b"data: a\n\ndata: b\ndata: c\n\ndata: [DONE]\n\n"
    )
