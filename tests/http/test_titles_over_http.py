"""Titles of a running server: by the question at once, by a model once, by the user for good."""

import json
from collections.abc import Iterator
from typing import Any, Final, cast

import httpx
import pytest

from provider import Answer, Provider
from runnel.chat.sessions.titles import Titles
from runnel.errors import StartupError
from serving import LiveServer
from standing import Json
from waiting import until
from wire import Serve, query, refused_field, settle

CHAT: Final = "/chat"
SESSIONS: Final = "/api/chat/sessions"
SETTINGS: Final = {"title_model": "chat/titles", "title_seconds": 5}


class Titled:
    """A server whose alias `chat/titles` is asked for titles; and one user."""

    def __init__(self, server: LiveServer, provider: Provider) -> None:
        self.server = server
        self.provider = provider
        self.user = server.user("ana")
        self.http = httpx.Client(base_url=server.url, headers=self.user.headers, timeout=30)

    def ask(self, message: str = "Why is the sky blue?\nTell me.", **members: Any) -> Json:
        answer = self.http.post(CHAT, json={"message": message, "model": "chat/test", **members})
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def title(self, session_id: str) -> tuple[str | None, str | None]:
        """What is shown, and where it is from."""
        before = self._stored(session_id)
        shown = self.http.get(f"{SESSIONS}/{session_id}").json()["title"]
        stored = self._stored(session_id)
        if stored == before:  # else it came meanwhile
            assert shown == stored[0]
        return stored

    def _stored(self, session_id: str) -> tuple[str | None, str | None]:
        [(title, by)] = query(
            self.server, "SELECT title, title_by FROM sessions WHERE id = ?", session_id
        )
        return title, by

    def asked_for_titles(self) -> list[Json]:
        return [ask.body for ask in self.provider.asks if ask.body["model"] == "titles"]

    @property
    def titles(self) -> Titles:
        observers = cast("Any", self.server.server.parts.chat._observer)
        [ended] = observers._listeners
        return ended.__self__

    def idle(self) -> None:
        """Waits until no title is being asked for."""
        settle(self.server)
        until(lambda: not self.titles._tasks)


def models(provider: Provider) -> Json:
    aliases = {
        f"chat/{model}": {"provider": "openai", "model": model, "base_url": provider.url}
        for model in ("test", "titles")
    }
    return {"default": "chat/test", "aliases": aliases}


@pytest.fixture
def titled(serve: Serve, provider: Provider) -> Iterator[Titled]:
    there = Titled(serve(models=models(provider), **SETTINGS), provider)
    with there.http:
        yield there


def test_a_model_is_asked_once_and_shown_question_and_answer(titled: Titled) -> None:
    titled.provider.answer("test", Answer(("Because of ", "Rayleigh.")))
    titled.provider.answer("titles", Answer(('**Title:** "Blue skies"',)))
    session_id = titled.ask(session_id="s")["session_id"]
    until(lambda: titled.title(session_id) == ("Blue skies", "model"))
    titled.ask("And at night?", session_id="s")
    titled.idle()
    [asked] = titled.asked_for_titles()
    assert asked["max_tokens"] == 60
    system, question = asked["messages"]
    assert "title" in system["content"]
    assert "Why is the sky blue?\nTell me." in question["content"]
    assert "Because of Rayleigh." in question["content"]
    assert titled.title(session_id) == ("Blue skies", "model")
    # A title is found, and the one before it is not any more.
    found = titled.http.get(SESSIONS, params={"q": "skies"}).json()["sessions"]
    assert [each["session_id"] for each in found] == [session_id]
    # Nobody has asked this question.
    assert titled.http.get("/api/usage").json()["total"]["generations"] == 2


def test_the_question_is_the_title_while_it_is_answered(titled: Titled) -> None:
    titled.provider.answer("test", Answer(("one", "two"), gate_after=1))
    asked = titled.ask(background=True)
    assert titled.title(asked["session_id"]) == ("Why is the sky blue?", "question")
    titled.http.post(asked["abort_url"]).raise_for_status()
    titled.idle()
    # What was not answered gives a model nothing to go by.
    assert titled.asked_for_titles() == []
    titled.provider.answer("test", Answer(("three",)))
    titled.ask("Again?", session_id=asked["session_id"])
    titled.idle()
    assert len(titled.asked_for_titles()) == 1


def test_a_title_that_the_user_sets_wins_whenever_it_comes(titled: Titled) -> None:
    path = f"{SESSIONS}/"
    titled.provider.answer("titles", Answer(("Late",), gate_after=0))
    session_id = titled.ask()["session_id"]
    titled.provider.at_gate.wait_at_least(1)
    assert titled.title(session_id) == ("Why is the sky blue?", "asking")
    named = titled.http.patch(f"{path}{session_id}", json={"title": "Mine"})
    assert named.status_code == 200, named.text
    titled.provider.release()
    titled.idle()
    assert titled.title(session_id) == ("Mine", "user")
    before = titled.http.post(SESSIONS, json={"title": "Before"}).json()["session_id"]
    titled.ask(session_id=before)
    titled.idle()
    assert titled.title(before) == ("Before", "user")
    assert len(titled.asked_for_titles()) == 1


def test_a_title_that_is_taken_back_is_the_next_questions_and_no_model_is_asked_again(
    titled: Titled,
) -> None:
    titled.provider.answer("titles", Answer(("Blue skies",)))
    session_id = titled.ask(session_id="s")["session_id"]
    until(lambda: titled.title(session_id) == ("Blue skies", "model"))
    titled.http.patch(f"{SESSIONS}/s", json={"title": None}).raise_for_status()
    assert titled.title(session_id) == (None, "user")
    titled.ask("And then?", session_id="s")
    titled.idle()
    assert titled.title(session_id) == ("And then?", "asking")
    assert len(titled.asked_for_titles()) == 1


@pytest.mark.parametrize(
    "answer",
    [Answer(status=500), Answer(("...",)), Answer(("half",), cut_after=1), Answer(status=401)],
    ids=["fault", "no words", "cut", "refused"],
)
def test_what_gives_no_title_leaves_the_one_there_is_and_is_not_asked_again(
    titled: Titled, answer: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    titled.provider.answer("titles", answer)
    session_id = titled.ask(session_id="s")["session_id"]
    titled.idle()
    until(lambda: len(titled.asked_for_titles()) == 1)
    titled.ask("And then?", session_id="s")
    titled.idle()
    assert titled.title(session_id) == ("Why is the sky blue?", "asking")
    assert len(titled.asked_for_titles()) == 1
    assert "sky" not in capsys.readouterr().out


def test_sessions_that_no_list_shows_have_no_title(titled: Titled) -> None:
    body = {"model": "chat/test", "messages": [{"role": "user", "content": "Why?"}]}
    assert titled.http.post("/v1/chat/completions", json=body).status_code == 200
    titled.idle()
    assert query(titled.server, "SELECT title, title_by FROM sessions") == [(None, None)]
    assert titled.asked_for_titles() == []


def test_a_history_is_called_by_its_own_first_question(titled: Titled) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": "First?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "Second?"},
    ]
    titled.provider.answer("titles", Answer(status=500))
    answer = titled.http.post(CHAT, json={"messages": messages, "model": "chat/test"}).json()
    titled.idle()
    assert titled.title(answer["session_id"]) == ("First?", "asking")


def test_so_many_are_asked_at_a_time_and_the_others_later(titled: Titled) -> None:
    titled.provider.answer("titles", Answer(("Title one",), gate_after=0))
    ids = [titled.ask(f"Question {number}")["session_id"] for number in range(6)]
    titled.provider.at_gate.wait_at_least(4)
    settle(titled.server)
    assert len(titled.titles._tasks) == 4
    titled.provider.release()
    titled.idle()
    skipped = [each for each in ids if titled.title(each)[1] == "question"]
    assert len(skipped) == 2
    titled.ask("On.", session_id=skipped[0])
    titled.idle()
    assert titled.title(skipped[0]) == ("Title one", "model")


def test_the_end_of_the_server_waits_for_no_title(titled: Titled) -> None:
    titled.provider.answer("titles", Answer(("never",), gate_after=0))
    session_id = titled.ask()["session_id"]
    titled.provider.at_gate.wait_at_least(1)
    left = titled.provider.client_left.value
    titled.server.call(titled.titles.close())
    titled.provider.client_left.wait_at_least(left + 1)
    assert not titled.titles._tasks
    titled.ask("Another?")
    settle(titled.server)
    assert not titled.titles._tasks
    assert titled.title(session_id) == ("Why is the sky blue?", "asking")


def test_an_alias_that_is_not_there_is_said_at_the_start_and_at_a_reload(
    serve: Serve, provider: Provider
) -> None:
    with pytest.raises(StartupError, match=r"TITLE_MODEL: there is no alias chat/none; there are"):
        serve(models=models(provider), title_model="chat/none")
    server = serve(models=models(provider), **SETTINGS)
    admin = server.user("root", "admin")
    fewer = models(provider)
    del fewer["aliases"]["chat/titles"]
    server.settings.models_file.write_text(json.dumps(fewer))
    reloaded = httpx.post(
        f"{server.url}/api/admin/models/reload", headers=admin.headers, timeout=30
    )
    assert "TITLE_MODEL" in refused_field(reloaded, "models.json")
