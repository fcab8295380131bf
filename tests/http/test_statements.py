"""How many statements a request takes: few, and as many however much there is."""

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import pytest

from provider import Answer
from runnel.store import indexing
from runnel.store.chat import ChatStore
from standing import Standing, standing
from statements import told_of_statements

SESSIONS = "/api/chat/sessions"
#: Who asks, who they are at the moment of writing, the session, both messages, that they are to be
#: found, the generation in its first epoch; and at its end the session, the generation, the message,
#: its checkpoints and that it is to be found.
MOST_OF_A_FIRST_ASK = 11
#: Besides: the session with what runs in it, the place of its last message, the branch and its files.
MOST_OF_A_LATER_ASK = 16
#: Besides: the places of the message that is meant, and of the one before it.
MOST_OF_ANOTHER_ASK = 18
#: Who asks, who they are, and the page: a session, its branch, its messages, their files.
MOST_OF_A_PAGE = 5


@pytest.fixture
def quiet(migrated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Standing]:
    """A server that does nothing by itself."""
    never: dict[str, Any] = dict.fromkeys(
        (
            "checkpoint_seconds",
            "heartbeat_seconds",
            "revocation_check_seconds",
            "clean_up_seconds",
        ),
        3600,
    )
    monkeypatch.setattr(indexing, "_GATHER_SECONDS", 3600)
    with standing(migrated, tmp_path, **never) as stand:
        stand.provider.answer("test", lambda _: Answer(["one"]))
        yield stand


def taken(stand: Standing, work: Callable[[], Any]) -> int:
    """How many statements that takes."""
    store = stand.server.server.parts.chat._making._store
    assert isinstance(store, ChatStore)
    said: list[str] = []

    def told(text: str, values: Sequence[object], rows: int) -> None:
        del values, rows
        said.append(text)

    with told_of_statements(store._database, told):
        work()
    return len(said)


def ask(stand: Standing, session: str | None = None) -> dict[str, Any]:
    body = {"message": "one", **({"session_id": session} if session else {})}
    response = stand.client.post("/chat", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def get(stand: Standing, path: str, rows: str, number: int) -> None:
    response = stand.client.get(path)
    assert response.status_code == 200, response.text
    assert len(response.json()[rows]) == number


def test_an_ask_takes_fewer_than_a_dozen_statements(quiet: Standing) -> None:
    ask(quiet)
    assert 0 < taken(quiet, lambda: ask(quiet)) <= MOST_OF_A_FIRST_ASK


def test_an_ask_takes_no_more_however_long_the_talk_is(quiet: Standing) -> None:
    ask(quiet, "talk")
    first = taken(quiet, lambda: ask(quiet, "talk"))
    for _ in range(10):
        ask(quiet, "talk")
    assert taken(quiet, lambda: ask(quiet, "talk")) == first <= MOST_OF_A_LATER_ASK


def test_another_answer_takes_no_more_however_long_the_talk_is(quiet: Standing) -> None:
    def again() -> None:
        path = f"{SESSIONS}/talk/messages/{asked['message_id']}"
        assert quiet.client.post(f"{path}/regenerate").status_code == 200

    def instead() -> None:
        path = f"{SESSIONS}/talk/messages/{asked['user_message_id']}"
        assert quiet.client.post(f"{path}/edit", json={"content": "two"}).status_code == 200

    ask(quiet, "talk")
    asked = ask(quiet, "talk")
    few = [taken(quiet, again), taken(quiet, instead)]
    for _ in range(10):
        asked = ask(quiet, "talk")
    assert [taken(quiet, again), taken(quiet, instead)] == few
    assert max(few) <= MOST_OF_ANOTHER_ASK


def test_a_list_of_sessions_takes_as_many_however_many_there_are(quiet: Standing) -> None:
    for _ in range(12):
        ask(quiet)
    one = taken(quiet, lambda: get(quiet, f"{SESSIONS}?limit=1", "sessions", 1))
    many = taken(quiet, lambda: get(quiet, f"{SESSIONS}?limit=12", "sessions", 12))
    assert one == many <= MOST_OF_A_PAGE


@pytest.mark.parametrize("tree", ["false", "true"])
def test_a_history_takes_as_many_however_long_it_is(quiet: Standing, tree: str) -> None:
    for _ in range(10):
        ask(quiet, "talk")
    path = f"{SESSIONS}/talk/messages?tree={tree}"
    few = taken(quiet, lambda: get(quiet, f"{path}&limit=2", "messages", 2))
    many = taken(quiet, lambda: get(quiet, f"{path}&limit=20", "messages", 20))
    assert few == many <= MOST_OF_A_PAGE
