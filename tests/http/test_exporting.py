"""`POST /api/chat/export`: all that a user has, to nobody else, whole or visibly cut."""

import json
import re
import tracemalloc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from databases import only_on_sqlite
from serving import LiveServer, Signed
from waiting import until
from wire import NOBODYS_ID, House, bearer, but_id, problem, query, refused_field

# A chunk at a time is on the way, so that a test can stand in the middle.
LONG = "x" * 4000
MIB = 1024 * 1024


def export(house: House, who: Signed, **body: Any) -> httpx.Response:
    return house.http.post("/api/chat/export", json=body, headers=who.headers)


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.split("\n")[:-1]]


@contextmanager
def exporting(server: LiveServer, token: str, **body: Any) -> Generator[httpx.Response]:
    """An export, of which the client has not read anything yet."""
    with (
        httpx.Client(base_url=server.url, timeout=10) as http,
        http.stream(
            "POST", "/api/chat/export", json={"format": "jsonl"} | body, headers=bearer(token)
        ) as response,
    ):
        assert response.status_code == 200, response.read()
        yield response


def plant(server: LiveServer, session_id: str, count: int, content: str = LONG) -> None:
    """Makes a session long, without asking so often."""
    only_on_sqlite("its functions make the messages")
    ((leaf, stem, depth),) = query(
        server,
        "SELECT messages.id, stem_id, depth FROM sessions JOIN messages ON messages.id = leaf_id"
        " WHERE sessions.id = ?",
        session_id,
    )
    query(
        server,
        "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
        " INSERT INTO messages (id, session_id, parent_id, role, content, created_at, stem_id, depth)"
        " SELECT printf('00000000-%04x-%s', n, substr(?, 15)), ?,"
        " CASE n WHEN 1 THEN ? ELSE printf('00000000-%04x-%s', n - 1, substr(?, 15)) END,"
        " 'user', ?, '2026-01-31 12:00:00.000000', ?, ? + n FROM numbers",
        count,
        session_id,
        session_id,
        leaf,
        session_id,
        content,
        stem,
        depth,
    )


def test_a_session_is_exported_by_its_name_and_by_its_id(house: House, ada: Signed) -> None:
    asked = house.ask(ada, "What?", session_id="a:name")
    by_name = export(house, ada, session_id="a:name", format="jsonl")
    by_id = export(house, ada, session_id=asked["session_id"], format="jsonl")
    assert by_name.content == by_id.content
    header, session, question, answer, end = lines_of(by_name)
    assert header == {"runnel_export": 1}
    assert (session["type"], session["name"]) == ("session", "a:name")
    assert session["active_message_id"] == answer["message_id"] == asked["message_id"]
    assert (question["role"], question["content"]) == ("user", "What?")
    assert answer["content"] == asked["text"]
    assert answer["parent_id"] == question["message_id"]
    assert answer["generation"]["generation_id"] == asked["generation_id"]
    assert answer["generation"]["usage"]["prompt_tokens"] == asked["usage"]["prompt_tokens"]
    assert end == {"type": "end"}


@pytest.mark.parametrize(
    ("form", "media_type", "extension"),
    [
        ("json", "application/json", "json"),
        ("jsonl", "application/x-ndjson", "jsonl"),
        ("markdown", "text/markdown; charset=utf-8", "md"),
        ("text", "text/plain; charset=utf-8", "txt"),
    ],
)
def test_each_format_is_a_file_with_a_safe_name(
    house: House, ada: Signed, form: str, media_type: str, extension: str
) -> None:
    house.ask(ada, "What?", session_id="a:name")
    one = export(house, ada, session_id="a:name", format=form)
    every = export(house, ada, format=form)
    assert one.headers["content-type"] == every.headers["content-type"] == media_type
    for response, name in ((one, "a_name"), (every, "sessions")):
        disposition = response.headers["content-disposition"]
        found = re.fullmatch(
            rf'attachment; filename="runnel-{name}-[0-9]{{8}}\.{extension}"', disposition
        )
        assert found, disposition
        assert "What?" in response.text


def test_without_a_session_it_is_all_that_the_user_has_and_nothing_else(
    house: House, ada: Signed, bob: Signed
) -> None:
    first = house.ask(ada, "one")["session_id"]
    second = house.ask(ada, "two")["session_id"]
    house.ask(bob, "three")
    house.http.post(
        "/v1/chat/completions",
        json={"model": "chat/test", "messages": [{"role": "user", "content": "hidden"}]},
        headers=ada.headers,
    ).raise_for_status()
    document = export(house, ada, format="json").json()
    assert [each["session_id"] for each in document["sessions"]] == [first, second]
    assert [each["messages"][0]["content"] for each in document["sessions"]] == ["one", "two"]


def test_who_has_nothing_gets_an_export_of_nothing(house: House, ada: Signed) -> None:
    assert export(house, ada, format="json").json() == {"runnel_export": 1, "sessions": []}
    assert lines_of(export(house, ada, format="jsonl")) == [{"runnel_export": 1}, {"type": "end"}]
    assert export(house, ada, format="markdown").text == "There are no sessions.\n"


def test_foreign_and_unknown_sessions_are_refused_alike(
    house: House, ada: Signed, bob: Signed
) -> None:
    session_id = house.ask(ada, session_id="mine")["session_id"]
    answers = [
        problem(export(house, bob, session_id=each, format="json"), 404, "not_found")
        for each in (session_id, "mine", NOBODYS_ID, "nobodys")
    ]
    assert all(but_id(answer) == but_id(answers[0]) for answer in answers)


def test_what_is_no_request_for_an_export_is_refused(house: House, ada: Signed) -> None:
    refused_field(export(house, ada), "format")
    refused_field(export(house, ada, format="pdf"), "format")
    refused_field(export(house, ada, format="json", session_id="a b"), "session_id")
    refused_field(export(house, ada, format="json", more=1), "more")
    problem(house.http.post("/api/chat/export", json={"format": "json"}), 401, "unauthorized")


def test_an_answer_that_is_being_made_is_exported_as_it_stands(
    house: House, ada: Signed, gate: Any
) -> None:
    body = {"message": "go on", "model": "chat/gated", "background": True}
    asked = house.http.post("/chat", json=body, headers=ada.headers).raise_for_status().json()
    session_id = asked["session_id"]

    def answer() -> dict[str, Any]:
        return lines_of(export(house, ada, session_id=session_id, format="jsonl"))[3]

    until(lambda: answer()["content"] == "first")
    assert answer()["generation"]["status"] == "running"
    assert "still being made" in export(house, ada, session_id=session_id, format="text").text
    gate.release()


def test_more_than_two_at_a_time_are_refused(house: House, ada: Signed, bob: Signed) -> None:
    plant(house.server, house.ask(ada)["session_id"], 3000)
    with exporting(house.server, ada.token), exporting(house.server, ada.token):
        refused = export(house, ada, format="json")
        problem(refused, 429, "rate_limited")
        assert int(refused.headers["retry-after"]) > 0
        assert export(house, bob, format="json").status_code == 200
    until(lambda: not house.server.server.parts.exporting._reading)
    assert export(house, ada, format="json").status_code == 200


def test_a_logout_cuts_what_is_read(house: House) -> None:
    ada = house.server.user("ada-who-leaves")
    pair = house.login(ada)
    plant(house.server, house.ask(ada)["session_id"], 3000)
    with exporting(house.server, pair["access_token"]) as response:
        house.http.post("/logout", headers=bearer(pair["access_token"])).raise_for_status()
        until(lambda: not house.server.server.parts.exporting._reading)
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()


def test_a_session_that_is_deleted_meanwhile_cuts_its_export(house: House, ada: Signed) -> None:
    session_id = house.ask(ada)["session_id"]
    plant(house.server, session_id, 3000)
    with exporting(house.server, ada.token) as response:
        query(
            house.server, "DELETE FROM messages WHERE depth > 2000 AND session_id = ?", session_id
        )
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()


def test_a_database_that_goes_away_cuts_the_export(server: LiveServer) -> None:
    ada = server.user("ada")
    with httpx.Client(base_url=server.url, headers=ada.headers, timeout=30) as http:
        asked = http.post("/chat", json={"message": "hi"}).raise_for_status().json()
        plant(server, asked["session_id"], 3000)
        with exporting(server, ada.token) as response:
            query(server, "ALTER TABLE messages RENAME TO away")
            with pytest.raises(httpx.RemoteProtocolError):
                response.read()
        problem(http.post("/api/chat/export", json={"format": "json"}), 503, "store_unavailable")
        query(server, "ALTER TABLE away RENAME TO messages")
        assert http.post("/api/chat/export", json={"format": "json"}).status_code == 200


def test_what_is_said_meanwhile_is_left_to_the_next_export(house: House, ada: Signed) -> None:
    session_id = house.ask(ada, "the first")["session_id"]
    plant(house.server, session_id, 3000)
    with exporting(house.server, ada.token) as response:
        house.ask(ada, "said meanwhile", session_id=session_id)
        lines = [json.loads(line) for line in response.iter_lines()]
    session, *messages = lines[1:-1]
    assert len(messages) == 3002
    assert "said meanwhile" not in {each["content"] for each in messages}
    ids = {each["message_id"] for each in messages}
    assert session["active_message_id"] in ids
    assert all(each["parent_id"] in ids | {None} for each in messages)
    assert "said meanwhile" in export(house, ada, format="text").text


@pytest.mark.parametrize("form", ["jsonl", "markdown"])
def test_memory_does_not_grow_with_what_is_exported(house: House, ada: Signed, form: str) -> None:
    plant(house.server, house.ask(ada)["session_id"], 20_000, "a thousand characters " * 45)
    tracemalloc.start()
    try:
        with exporting(house.server, ada.token, format=form) as response:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            size = sum(len(piece) for piece in response.iter_raw(64 * 1024))
            _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 19 * MIB
    assert peak - before < 6 * MIB
