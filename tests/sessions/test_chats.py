"""The same sessions in the words of chats."""

from typing import Any

from provider import Answer
from talking import SESSIONS, Talker


def test_a_chat_is_a_session_in_other_words(ada: Talker) -> None:
    made = ada.ok("POST", "/api/chats", {"title": "Lisbon"})
    assert set(made) == {"id", "title", "created_at", "messages"}
    assert (made["title"], made["messages"]) == ("Lisbon", [])
    session = ada.ok("GET", f"{SESSIONS}/{made['id']}")
    assert (session["session_id"], session["title"]) == (made["id"], "Lisbon")
    assert session["started_at"] == made["created_at"]
    answered = ada.say("hi", made["id"], "hello")
    chat = ada.ok("GET", f"/api/chats/{made['id']}")
    assert [(m["id"], m["content"], m["is_ai"]) for m in chat["messages"]] == [
        (answered["user_message_id"], "hi", False),
        (answered["message_id"], "hello", True),
    ]
    assert set(chat["messages"][0]) == {"id", "content", "is_ai", "timestamp"}


def test_a_chat_needs_no_title(ada: Talker) -> None:
    nothing: dict[str, Any] = {}
    for body in (None, nothing):
        response = ada.call("POST", "/api/chats", body)
        assert response.status_code == 201
        assert response.json()["title"] is None
    ada.refused(422, "invalid_request", "POST", "/api/chats", {"name": "x"})


def test_an_integer_is_the_name_of_that_spelling(ada: Talker) -> None:
    ada.say("hi", "123", "hello")
    chat = ada.ok("GET", "/api/chats/123")
    assert chat["id"] == 123
    assert len(chat["messages"]) == 2


def test_chats_are_listed_without_messages_by_id_name_or_me(ada: Talker, bob: Talker) -> None:
    ada.say("hi", "a")
    ada.say("hi", "b")
    own_id = ada.ok("GET", "/me")["id"]
    for who in ("me", own_id, ada.signed.username, ada.signed.username.upper()):
        listed = ada.ok("GET", f"/api/users/{who}/chats")
        assert [chat["id"] for chat in listed["chats"]] == ["b", "a"]
        assert set(listed["chats"][0]) == {"id", "title", "created_at"}
    for who in ("nobody", own_id, ada.signed.username):
        bob.refused(404, "not_found", "GET", f"/api/users/{who}/chats")
    first = ada.ok("GET", "/api/users/me/chats", limit=1)
    second = ada.ok("GET", "/api/users/me/chats", limit=1, cursor=first["next_cursor"])
    assert [chat["id"] for chat in second["chats"]] == ["a"]


def test_what_runs_in_a_chat_can_be_stopped(ada: Talker, bob: Talker) -> None:
    made = ada.ok("POST", "/api/chats")
    abort = f"/api/chats/{made['id']}/abort"
    idle = ada.ok("POST", abort)
    assert idle == {"chat_id": made["id"], "status": "idle", "generation_id": None}
    ada.house.provider.answer("gated", Answer(["half", " whole"], gate_after=1))
    body = {"message": "x", "session_id": made["id"], "model": "chat/gated", "background": True}
    asked = ada.ok("POST", "/chat", body)
    bob.refused(404, "not_found", "POST", abort)
    stopped = ada.ok("POST", abort)
    assert stopped == {
        "chat_id": made["id"],
        "status": "aborted",
        "generation_id": asked["generation_id"],
    }
    assert ada.ok("POST", abort) == stopped


def test_a_long_chat_is_whole(ada: Talker) -> None:
    history = [{"role": "user", "content": f"message {number}"} for number in range(1203)]
    ada.house.provider.answer("test", Answer(["a"]))
    ada.ok("POST", "/chat", {"messages": history, "session_id": "long"})
    chat = ada.ok("GET", "/api/chats/long")
    contents = [message["content"] for message in chat["messages"]]
    assert contents == [message["content"] for message in history] + ["a"]
