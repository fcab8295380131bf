"""Sessions are searched over HTTP: `q` finds titles and messages, and shows where."""

import pytest

from talking import SESSIONS, Talker


def names(ada: Talker, **params: str) -> list[str]:
    return [session["name"] for session in ada.sessions(**params)]


def test_what_was_said_is_found_and_shown_where(ada: Talker) -> None:
    ada.session(name="trip", title="Viagem ao coração da Itália")
    said = ada.say("Onde fica o coracao?", "body", "O <b>coração</b> fica no peito.")
    ada.say("Something else", "other", "Well.")
    body, trip = ada.sessions(q="CORAÇÃO")
    assert (body["name"], trip["name"]) == ("body", "trip")
    assert body["matches"] == [
        # Its first question is its title too.
        {"message_id": None, "snippet": "Onde fica o <mark>coracao</mark>?"},
        {
            "message_id": said["message_id"],
            "snippet": "O &lt;b&gt;<mark>coração</mark>&lt;/b&gt; fica no peito.",
        },
        {"message_id": said["user_message_id"], "snippet": "Onde fica o <mark>coracao</mark>?"},
    ]
    assert trip["matches"] == [
        {"message_id": None, "snippet": "Viagem ao <mark>coração</mark> da Itália"}
    ]
    assert "matches" not in ada.sessions()[0]


def test_a_title_is_found_as_it_is_now(ada: Talker) -> None:
    ada.session(name="s", title="First thoughts")
    assert names(ada, q="first") == ["s"]
    ada.ok("PATCH", f"{SESSIONS}/s", {"title": "Second thoughts"})
    assert names(ada, q="first") == []
    assert names(ada, q="second thoughts") == ["s"]
    ada.ok("PATCH", f"{SESSIONS}/s", {"status": "closed"})
    assert names(ada, q="second") == ["s"]
    ada.ok("PATCH", f"{SESSIONS}/s", {"title": None})
    assert names(ada, q="second") == []


def test_a_search_has_pages_and_keeps_to_what_else_is_wanted(ada: Talker) -> None:
    for number in range(5):
        ada.session(
            name=f"s{number}", title="needle", project_id="even" if number % 2 == 0 else "odd"
        )
    ada.session(name="hay", title="hay", project_id="even")
    assert names(ada, q="needle", limit="2") == ["s4", "s3", "s2", "s1", "s0"]
    assert names(ada, q="needle", project_id="even") == ["s4", "s2", "s0"]
    ada.ok("DELETE", f"{SESSIONS}/s2")
    assert names(ada, q="needle", status="closed") == ["s2"]


def test_nobody_finds_what_another_said(ada: Talker, bob: Talker) -> None:
    ada.say("the secret needle", "s", "a needle indeed")
    assert names(ada, q="needle") == ["s"]
    assert names(bob, q="needle") == []


def test_what_is_purged_is_found_no_more(ada: Talker) -> None:
    ada.say("needle", "s")
    ada.ok("DELETE", f"{SESSIONS}/s", purge="true")
    assert names(ada, q="needle") == []


def test_an_edit_and_another_answer_are_found_beside_what_was(ada: Talker) -> None:
    said = ada.say("old question", "s", "old answer")
    path = f"{SESSIONS}/s/messages"
    ada.ok("POST", f"{path}/{said['user_message_id']}/edit", {"content": "new question"})
    ada.ok("POST", f"{path}/{said['message_id']}/regenerate", {})
    for query in ("old question", "new question", "old answer"):
        assert names(ada, q=query) == ["s"]


@pytest.mark.parametrize(
    "q",
    [
        *('"', '""', "*", "'", "\\", "\0", "%", "()", "((((", "-", "!", "&&", "...", "🎉"),
        *('" OR "', "AND OR NOT", "NEAR(a b)", "owner:x", "{words}: a", "^a", "a:*", "a <-> b"),
        *("'; DROP TABLE sessions; --", "\ud83d".encode("utf-8", "replace").decode(), "\ufffd"),
        *("a" * 1000, '"' * 1000, "( " * 500, "é" * 1000, "\u0301" * 1000),
    ],
)
def test_whatever_is_typed_is_harmless(ada: Talker, q: str) -> None:
    ada.session(name="s", title="Quiet")
    assert names(ada, q=q) == []


@pytest.mark.parametrize("q", ["a" * 1001, "x" * 10_000, "b " * 33, "東" * 33])
def test_too_much_to_search_for_is_refused(ada: Talker, q: str) -> None:
    found = ada.refused(422, "invalid_request", "GET", SESSIONS, q=q)
    assert [error["field"] for error in found["errors"]] == ["q"]


def test_a_cursor_that_is_none_is_refused_in_a_search_too(ada: Talker) -> None:
    for q in ("needle", ""):
        ada.refused(422, "invalid_request", "GET", SESSIONS, q=q, cursor="x")


def test_a_search_that_was_emptied_shows_everything(ada: Talker) -> None:
    ada.say("hi", "s")
    for emptied in ("", " ", "\n"):
        (session,) = ada.sessions(q=emptied)
        assert "matches" not in session
    assert ada.sessions(q="?!") == []
