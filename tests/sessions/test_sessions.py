"""Sessions are made, listed, set, closed and opened again."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from provider import Answer
from talking import SESSIONS, Talker
from wire import NOBODYS_ID, query

#: What a message says of its making, in the words of the answer itself.
MADE: Final = ("model", "provider", "provider_model", "usage", "finish_reason", "first_token_ms")

MEMBERS = {
    "session_id",
    "name",
    "user_id",
    "project_id",
    "title",
    "status",
    "started_at",
    "last_activity",
    "message_count",
    "running_generation_id",
    "last_message_id",
    "metadata",
    "settings",
}
USUAL = {
    "model_preference": None,
    "language": None,
    "stream_responses": True,
    "system_prompt": None,
}


def test_a_new_session_is_what_it_was_said_to_be(ada: Talker) -> None:
    made = ada.session(
        name="trip",
        title="  A\ttrip\nto Lisbon ",
        project_id="travel",
        settings={
            "model_preference": "chat/test",
            "language": "pt-BR",
            "system_prompt": "Be brief.",
        },
        metadata={"client_version": "1.2"},
    )
    assert set(made) == MEMBERS
    assert made["title"] == "A trip to Lisbon"
    assert (made["name"], made["project_id"], made["status"]) == ("trip", "travel", "active")
    assert (made["message_count"], made["running_generation_id"]) == (0, None)
    assert made["settings"] == {
        "model_preference": "chat/test",
        "language": "pt-BR",
        "stream_responses": True,
        "system_prompt": "Be brief.",
    }
    assert made["metadata"]["client_version"] == "1.2"
    assert made["metadata"]["ip_address"] == "127.0.0.1"
    assert made["metadata"]["user_agent"].startswith("python-httpx")
    assert ada.ok("GET", f"{SESSIONS}/trip") == made
    assert ada.ok("GET", f"{SESSIONS}/{made['session_id']}") == made
    assert ada.ok("GET", f"{SESSIONS}/{made['session_id'].upper()}") == made


def test_nothing_needs_to_be_said_of_a_new_session(ada: Talker) -> None:
    response = ada.call("POST", SESSIONS)
    assert response.status_code == 201
    assert response.json()["settings"] == USUAL


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "me"}, "name"),
        ({"name": NOBODYS_ID}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"title": ""}, "title"),
        ({"title": "\n"}, "title"),
        ({"title": "x" * 201}, "title"),
        ({"project_id": ""}, "project_id"),
        ({"settings": {"language": "not a tag"}}, "settings.language"),
        ({"settings": {"temperature": 1}}, "settings.temperature"),
        ({"settings": {"system_prompt": "x" * 20_001}}, "settings.system_prompt"),
        ({"metadata": {"ip_address": "here"}}, "metadata.ip_address"),
        ({"status": "closed"}, "status"),
    ],
)
def test_what_a_session_cannot_be_is_refused_by_its_name(
    ada: Talker, body: dict[str, Any], field: str
) -> None:
    refused = ada.refused(422, "invalid_request", "POST", SESSIONS, body)
    assert [fault["field"] for fault in refused["errors"]] == [field]


def test_a_model_that_nobody_knows_is_no_preference(ada: Talker) -> None:
    settings = {"settings": {"model_preference": "chat/none"}}
    ada.session(name="s")
    for method, path in [("POST", SESSIONS), ("PATCH", f"{SESSIONS}/s")]:
        refused = ada.refused(422, "unknown_model", method, path, settings)
        assert refused["errors"][0]["field"] == "settings.model_preference"


def test_a_name_is_one_sessions_of_a_user(ada: Talker, bob: Talker) -> None:
    ada.session(name="same")
    ada.refused(409, "conflict", "POST", SESSIONS, {"name": "same"})
    bob.session(name="same")


def test_sessions_are_listed_by_their_newest_activity(ada: Talker) -> None:
    for name in "abc":
        ada.session(name=name)
    assert [session["name"] for session in ada.sessions()] == ["c", "b", "a"]
    ada.say("hi", "a")
    assert [session["name"] for session in ada.sessions()] == ["a", "c", "b"]
    assert ada.sessions()[0]["message_count"] == 2


def test_pages_neither_repeat_nor_skip_what_new_sessions_push_down(ada: Talker) -> None:
    for number in range(7):
        ada.session(name=f"s{number}")
    first = ada.ok("GET", SESSIONS, limit=3)
    ada.session(name="new")
    second = ada.ok("GET", SESSIONS, limit=3, cursor=first["next_cursor"])
    ada.session(name="newer")
    third = ada.ok("GET", SESSIONS, limit=3, cursor=second["next_cursor"])
    names = [s["name"] for page in (first, second, third) for s in page["sessions"]]
    assert names == [f"s{number}" for number in range(6, -1, -1)]
    assert third["next_cursor"] is None


@pytest.mark.parametrize("cursor", ["", "x", "1-2", "0", "\0"])
def test_what_is_no_cursor_is_refused(ada: Talker, cursor: str) -> None:
    ada.refused(422, "invalid_request", "GET", SESSIONS, cursor=cursor)


def test_lists_can_be_of_a_project_or_a_status(ada: Talker) -> None:
    ada.session(name="a", project_id="one")
    ada.session(name="b", project_id="two")
    ada.session(name="c", project_id="one")
    ada.ok("DELETE", f"{SESSIONS}/c")
    assert [s["name"] for s in ada.sessions(project_id="one")] == ["c", "a"]
    assert [s["name"] for s in ada.sessions(status="closed")] == ["c"]
    assert [s["name"] for s in ada.sessions(status="active")] == ["b", "a"]
    assert ada.sessions(status="idle") == []
    assert ada.sessions(project_id="nul\0") == []
    assert ada.call("GET", SESSIONS, status="gone").status_code == 422


def test_a_session_in_which_nothing_happened_for_a_while_is_idle(ada: Talker) -> None:
    made = ada.session(name="old")
    ada.session(name="new")
    _age(ada, made["session_id"], timedelta(hours=1))
    assert ada.ok("GET", f"{SESSIONS}/old")["status"] == "idle"
    assert [s["name"] for s in ada.sessions(status="idle")] == ["old"]
    assert [s["name"] for s in ada.sessions(status="active")] == ["new"]
    ada.say("hi", "old")
    assert ada.ok("GET", f"{SESSIONS}/old")["status"] == "active"


def test_while_it_is_answered_a_session_is_active_and_names_the_answer(ada: Talker) -> None:
    ada.house.provider.answer("gated", Answer(["a", "b"], gate_after=1))
    asked = ada.ok(
        "POST",
        "/chat",
        {"message": "x", "session_id": "s", "model": "chat/gated", "background": True},
    )
    _age(ada, asked["session_id"], timedelta(hours=1))
    session = ada.ok("GET", f"{SESSIONS}/s")
    assert (session["status"], session["running_generation_id"]) == (
        "active",
        asked["generation_id"],
    )
    assert [s["name"] for s in ada.sessions(status="active")] == ["s"]
    ada.house.provider.release()
    ada.house.settle()
    ada.house.provider.hold()
    assert ada.ok("GET", f"{SESSIONS}/s")["running_generation_id"] is None


def test_changes_change_what_they_name_and_null_takes_it_back(ada: Talker) -> None:
    before = ada.session(name="s", title="Old", project_id="p", settings={"language": "de"})
    after = ada.ok("PATCH", f"{SESSIONS}/s", {"title": "New", "settings": {"system_prompt": "Hm"}})
    expected = before | {"title": "New", "settings": before["settings"] | {"system_prompt": "Hm"}}
    assert after == expected
    cleared = ada.ok(
        "PATCH",
        f"{SESSIONS}/s",
        {
            "title": None,
            "project_id": None,
            "settings": {"language": None, "system_prompt": None, "stream_responses": False},
        },
    )
    assert (cleared["title"], cleared["project_id"]) == (None, None)
    assert cleared["settings"] == USUAL | {"stream_responses": False}
    for wrong in ("yes", 1):
        settings = {"settings": {"stream_responses": wrong}}
        ada.refused(422, "invalid_request", "PATCH", f"{SESSIONS}/s", settings)
    reset = ada.ok("PATCH", f"{SESSIONS}/s", {"settings": {"stream_responses": None}})
    assert reset["settings"] == USUAL
    ada.refused(422, "invalid_request", "PATCH", f"{SESSIONS}/s", {})
    ada.refused(422, "invalid_request", "PATCH", f"{SESSIONS}/s", {"status": "idle"})
    ada.refused(404, "not_found", "PATCH", f"{SESSIONS}/none", {"title": "x"})


def test_the_next_answers_obey_the_settings(ada: Talker) -> None:
    ada.session(
        name="s",
        settings={
            "model_preference": "chat/gated",
            "language": "pt-BR",
            "system_prompt": "Answer in rhyme.",
        },
    )
    provider = ada.house.provider
    provider.answer("gated", Answer(["1"]))
    ada.house.ask(ada.signed, "hi", session_id="s")
    asked = provider.asks[-1].body
    assert asked["model"] == "gated"
    system, question = asked["messages"]
    assert system["role"] == "system"
    assert system["content"] == "Answer in rhyme.\n\nAnswer in this language (BCP 47): pt-BR"
    assert question["content"] == "hi"
    answered = ada.say("again", "s", model="chat/test")
    assert answered["model"] == "chat/test"
    ada.ok("PATCH", f"{SESSIONS}/s", {"settings": {"model_preference": None, "language": None}})
    ada.say("more", "s")
    assert provider.asks[-1].body["messages"][0]["content"] == "Answer in rhyme."


def test_closing_keeps_what_was_said_and_takes_no_question(ada: Talker) -> None:
    first = ada.say("one", "s", "1")
    closed = ada.ok("DELETE", f"{SESSIONS}/s")
    assert (closed["status"], closed["message_count"]) == ("closed", 2)
    assert ada.ok("DELETE", f"{SESSIONS}/s") == closed
    assert ada.texts("s") == ["one", "1"]
    events = ada.call("GET", f"/api/generations/{first['generation_id']}/events")
    assert events.text.endswith("id: 1-2\n\ndata: [DONE]\n\n")
    question = {"message": "two", "session_id": "s"}
    ada.refused(409, "session_closed", "POST", "/chat", question)
    path = f"{SESSIONS}/s/messages/{first['message_id']}/regenerate"
    ada.refused(409, "session_closed", "POST", path)
    opened = ada.ok("PATCH", f"{SESSIONS}/s", {"status": "active"})
    assert opened["status"] == "active"
    ada.say("two", "s", "2")
    assert ada.ok("PATCH", f"{SESSIONS}/s", {"status": "closed"})["status"] == "closed"


def test_closing_aborts_what_runs_and_keeps_its_text(ada: Talker) -> None:
    ada.house.provider.answer("gated", Answer(["half", " whole"], gate_after=1))
    asked = ada.ok(
        "POST",
        "/chat",
        {"message": "x", "session_id": "s", "model": "chat/gated", "background": True},
    )
    path = f"/api/generations/{asked['generation_id']}"
    with ada.house.http.stream("GET", f"{path}/events", headers=ada.signed.headers) as events:
        lines = events.iter_lines()
        for line in lines:
            if line == 'data: {"text":"half"}':
                break
        closed = ada.ok("DELETE", f"{SESSIONS}/s")
        assert (closed["status"], closed["running_generation_id"]) == ("closed", None)
        assert "event: aborted" in list(lines)
    generation = ada.ok("GET", path)
    assert (generation["status"], generation["text"]) == ("aborted", "half")
    last = ada.messages("s")[-1]
    assert (last["status"], last["content"]) == ("aborted", "half")


def test_messages_say_who_made_them_and_what_they_took(ada: Talker) -> None:
    answered = ada.say("hi", "s", "hello")
    question, answer = ada.messages("s")
    assert question == {
        "message_id": answered["user_message_id"],
        "session_id": answered["session_id"],
        "project_id": None,
        "parent_id": None,
        "generation_id": None,
        "role": "user",
        "content": "hi",
        "status": "completed",
        "timestamp": question["timestamp"],
        "metadata": {
            "tokens_used": None,
            "processing_time": None,
            "agent_used": None,
            "model": None,
            "provider": None,
            "provider_model": None,
            "usage": None,
            "finish_reason": None,
            "first_token_ms": None,
            "error": None,
            "attachments": [],
        },
        "reactions": {"helpful": None, "rating": None},
    }
    assert answer["generation_id"] == answered["generation_id"]
    assert answer["metadata"] == {
        "tokens_used": answered["usage"]["total_tokens"],
        "processing_time": answered["latency_ms"] / 1000,
        "agent_used": "chat/test",
        "attachments": [],
        "error": None,
        **{name: answered[name] for name in MADE},
    }


def test_a_failed_answer_says_why_and_a_running_one_what_is_known(ada: Talker) -> None:
    provider = ada.house.provider
    provider.answer("test", Answer(["half"], cut_after=1))
    failed = ada.call("POST", "/chat", {"message": "x", "session_id": "s"})
    *_, told = ada.messages("s")
    assert told["status"] == "failed"
    error = told["metadata"]["error"]
    assert error["code"] == "upstream_incomplete"
    assert error == ada.ok("GET", f"/api/generations/{told['generation_id']}")["error"]
    assert told["metadata"]["usage"]["source"] == "estimated"
    assert (failed.status_code, failed.json()["detail"]) == (502, error["message"])
    provider.answer("test", Answer(["half"], gate_after=-1))
    begun = ada.ok("POST", "/chat", {"message": "x", "session_id": "t", "background": True})
    *_, running = ada.messages("t")
    assert running["status"] in ("queued", "running")
    ada.ok("POST", begun["abort_url"])
    known = {"model": "chat/test", "provider": "openai", "provider_model": "test"}
    metadata = running["metadata"]
    assert {name: metadata[name] for name in (*MADE, "error")} == known | dict.fromkeys(
        ("usage", "finish_reason", "first_token_ms", "error")
    )


def test_reactions_go_with_answers_and_can_be_taken_back(ada: Talker) -> None:
    answered = ada.say("hi", "s")
    path = f"{SESSIONS}/s/messages/{answered['message_id']}/reaction"
    assert ada.ok("PUT", path, {"helpful": True}) == {"helpful": True, "rating": None}
    assert ada.ok("PUT", path, {"rating": 4}) == {"helpful": True, "rating": 4}
    assert ada.messages("s")[1]["reactions"] == {"helpful": True, "rating": 4}
    assert ada.ok("PUT", path, {"helpful": None}) == {"helpful": None, "rating": 4}
    for wrong in (
        *({"rating": rating} for rating in (0, 6, "x", "3", True, 4.5)),
        *({"helpful": helpful} for helpful in ("yes", 1)),
        *({}, {"stars": 1}),
    ):
        ada.refused(422, "invalid_request", "PUT", path, wrong)
    assert ada.messages("s")[1]["reactions"] == {"helpful": None, "rating": 4}
    question = f"{SESSIONS}/s/messages/{answered['user_message_id']}/reaction"
    ada.refused(409, "conflict", "PUT", question, {"helpful": True})


def test_sessions_of_v1_are_in_no_list_and_have_no_address(ada: Talker) -> None:
    ada.house.provider.answer("test", Answer(["x"]))
    body = {"model": "chat/test", "messages": [{"role": "user", "content": "hi"}]}
    ada.ok("POST", "/v1/chat/completions", body)
    assert ada.sessions() == []
    ((hidden,),) = query(
        ada.house.server,
        "SELECT id FROM sessions WHERE user_id = ?",
        ada.ok("GET", "/me")["id"],
    )
    ada.refused(404, "not_found", "GET", f"{SESSIONS}/{hidden}")


@pytest.mark.parametrize("name", ["none", "me", NOBODYS_ID, "a%20b", "%00", "x" * 200])
def test_what_is_no_session_is_unknown_however_it_is_called(ada: Talker, name: str) -> None:
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"title": "x"}),
        ("DELETE", "", None),
        ("GET", "/messages", None),
        ("PUT", "/branch", {"message_id": NOBODYS_ID}),
    ):
        refused = ada.refused(404, "not_found", method, f"{SESSIONS}/{name}{path}", body)
        assert refused["detail"] == "There is no such session."


def _age(talker: Talker, session_id: str, by: timedelta) -> None:
    """The last activity is so much longer ago."""
    moment = datetime.now(UTC) - by
    value = (
        moment if "postgresql" in talker.house.server.settings.database_url else str(moment)[:26]
    )
    query(
        talker.house.server,
        "UPDATE sessions SET last_activity = ? WHERE id = ?",
        value,
        session_id,
    )
