"""A purge against everything that may go on at the same time: nothing is left, and nothing breaks."""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from provider import Answer
from runnel.chat.notices import Gone, Notice
from runnel.chat.sessions.purging import Marked
from runnel.errors import Code, RunnelError
from serving import Signed
from standing import Json, Standing, standing
from waiting import soon, until

CHAT: Final = "/chat"
SLOW: Final = Answer([f"{piece} " for piece in range(30)], delay=0.005)
ROUNDS: Final = 8


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    with standing(migrated, tmp_path_factory.mktemp("purging")) as there:
        yield there


def rows(stand: Standing, user_id: str) -> dict[str, int]:
    """How many there are of a user's."""
    of_session = f"(SELECT id FROM sessions WHERE user_id = '{user_id}')"  # noqa: S608 - an id of ours
    return {
        "sessions": stand.rows(f"SELECT count(*) FROM sessions WHERE user_id = '{user_id}'")[0][0],  # noqa: S608 - same
        "messages": stand.rows(
            f"SELECT count(*) FROM messages WHERE session_id IN {of_session}"  # noqa: S608 - same
        )[0][0],
    }


def user_id_of(stand: Standing, user: Signed) -> str:
    return stand.client.get("/me", headers=user.headers).json()["id"]


def purge(stand: Standing, user_id: str, session_id: str) -> str:
    """What became of it: `purged`, or the error's code."""
    try:
        stand.server.call(stand.server.server.parts.purging.purge_session(user_id, session_id))
    except RunnelError as error:
        return error.code.value
    return "purged"


def assert_no_fault_logged(capsys: pytest.CaptureFixture[str]) -> None:
    out = capsys.readouterr().out
    assert "[info" in out
    assert [line for line in out.splitlines() if "[error" in line or "[critical" in line] == []


def test_a_purged_session_is_gone_and_its_name_is_free(stand: Standing) -> None:
    user = stand.server.user("ada")
    user_id = user_id_of(stand, user)
    log_bytes = stand.log.size
    first = stand.ask(CHAT, Answer(("one",)), session_id="talk").json()
    other = stand.ask(CHAT, Answer(("two",))).json()
    own_id = stand.client.get("/me").json()["id"]
    usage = stand.client.get("/api/usage").json()
    heard: list[Notice] = []
    bus = stand.server.server.parts.purging._bus
    with bus.hearing(own_id, heard.append):
        assert purge(stand, user_id, first["session_id"]) == "not_found"
        assert purge(stand, own_id, first["session_id"].upper()) == "not_found"
        assert purge(stand, own_id, first["session_id"]) == "purged"
        assert purge(stand, own_id, first["session_id"]) == "not_found"
    assert heard == [Gone(own_id, first["session_id"])]
    for path in ("", "/events"):
        gone = stand.client.get(f"/api/generations/{first['generation_id']}{path}")
        assert gone.status_code == 404
    assert stand.generation(other["generation_id"])["text"] == "two"
    # Of what it took nobody is relieved.
    assert stand.client.get("/api/usage").json() == usage
    again = stand.ask(CHAT, Answer(("three",)), session_id="talk").json()
    assert again["session_id"] != first["session_id"]
    unknown = stand.client.post(CHAT, json={"message": "q", "session_id": first["session_id"]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")
    for each in (other, again):
        assert purge(stand, own_id, each["session_id"]) == "purged"
    assert stand.log.size == log_bytes
    assert rows(stand, own_id) == {"sessions": 0, "messages": 0}


async def test_whoever_follows_is_told_the_abort_before_it_is_gone(stand: Standing) -> None:
    own_id = stand.client.get("/me").json()["id"]
    with stand.gate_closed():
        prompt = stand.prompt(Answer(["one", " two"], gate_after=1))
        async with (
            stand.server.client(stand.user) as client,
            client.stream("POST", "/api/generate", json={"prompt": prompt}) as response,
        ):
            lines = response.aiter_lines()
            async for line in lines:
                if line == "data: one":
                    break
            session_id = response.headers["x-session-id"]
            done = await asyncio.to_thread(purge, stand, own_id, session_id)
            rest = [line async for line in lines]
    assert done == "purged"
    assert "event: aborted" in rest
    assert "data: [DONE]" in rest
    assert stand.ended(response.headers["x-generation-id"]) == ()
    await soon(lambda: stand.held() == dict.fromkeys(stand.held(), 0))


class Race:
    """One answer, and all that goes on in its session."""

    def __init__(self, stand: Standing, client: httpx.AsyncClient, user_id: str, name: str) -> None:
        self._stand = stand
        self._client = client
        self._user_id = user_id
        self._name = name
        self.purges: list[str] = []
        self.statuses: list[int] = []

    async def run(self, choice: random.Random) -> None:
        accepted = await self._ask(self._name, background=True)
        path = f"/api/generations/{accepted['generation_id']}"
        session_id = accepted["session_id"]
        works = [
            self._purge(session_id),
            self._purge(session_id),
            self._ask(session_id),
            self._ask(self._name),
            self._call("GET", path),
            self._call("GET", f"{path}/events"),
            self._call("GET", f"{path}/events", headers={"Accept": "application/json"}),
            self._call("POST", f"{path}/abort"),
            self._call("GET", "/api/generations"),
        ]
        await asyncio.gather(*(_later(work, choice.uniform(0, 0.15)) for work in works))

    async def _purge(self, session_id: str) -> None:
        self.purges.append(await asyncio.to_thread(purge, self._stand, self._user_id, session_id))

    async def _ask(self, session: str, **members: object) -> Json:
        body = {"message": self._stand.prompt(SLOW), "session_id": session, **members}
        return await self._call("POST", CHAT, json=body)

    async def _call(self, method: str, path: str, **options: Any) -> Json:
        response = await self._client.request(method, path, **options)
        self.statuses.append(response.status_code)
        return response.json() if response.headers["content-type"].endswith("json") else {}


async def _later(work: Coroutine[Any, Any, object], seconds: float) -> None:
    await asyncio.sleep(seconds)
    await work


async def test_a_purge_races_with_all_that_goes_on_in_its_session(
    stand: Standing, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ask, attach, poll, abort and another purge, begun in any order, some at the same moment."""
    choice = random.Random(7)
    user = stand.server.user("racer")
    user_id = user_id_of(stand, user)
    log_bytes = stand.log.size
    async with stand.server.client(user) as client:
        races = [Race(stand, client, user_id, f"race{number}") for number in range(ROUNDS)]
        for race in races:
            await race.run(choice)
            assert set(race.statuses) <= {200, 202, 204, 404, 409}, race.statuses
            assert sorted(race.purges) == ["not_found", "purged"]
        # Who asked by the name may have made a session anew.
        gone = await client.delete("/me")
        assert gone.status_code == 204
    assert_no_fault_logged(capsys)
    await soon(lambda: stand.held() == dict.fromkeys(stand.held(), 0))
    assert rows(stand, user_id) == {"sessions": 0, "messages": 0}
    assert stand.log.size == log_bytes
    purging = stand.server.server.parts.purging
    assert (purging._tasks, purging._busy) == (set(), set())


async def test_an_account_races_with_its_own_questions(
    stand: Standing, capsys: pytest.CaptureFixture[str]
) -> None:
    log_bytes = stand.log.size
    for number in range(4):
        user = stand.server.user(f"leaver{number}")
        user_id = user_id_of(stand, user)
        async with stand.server.client(user) as client:
            quick, slow = stand.prompt(Answer(("quick",))), stand.prompt(SLOW)
            posts = [
                asyncio.create_task(
                    client.post(CHAT, json={"message": prompt, "background": background})
                )
                for prompt in (quick, slow)
                for background in (True, False)
                for _ in range(4)
            ]
            await asyncio.wait(posts, timeout=0.03 * number)
            gone = await client.delete("/me")
            answers = await asyncio.gather(*posts)
        assert gone.status_code == 204
        assert {answer.status_code for answer in answers} <= {200, 202, 401, 404, 409}
        assert rows(stand, user_id) == {"sessions": 0, "messages": 0}
    assert_no_fault_logged(capsys)
    await soon(lambda: stand.held() == dict.fromkeys(stand.held(), 0))
    assert stand.log.size == log_bytes


def test_what_an_account_took_is_kept_as_long_as_the_account(stand: Standing) -> None:
    user = stand.server.user("leaving")
    user_id = user_id_of(stand, user)
    asked = stand.client.post(
        CHAT, json={"message": stand.prompt(Answer(("one",)))}, headers=user.headers
    ).json()
    assert purge(stand, user_id, asked["session_id"]) == "purged"
    kept = f"SELECT count(*) FROM kept_usage WHERE user_id = '{user_id}'"  # noqa: S608 - an id of ours
    assert stand.rows(kept) == [(1,)]
    assert stand.client.delete("/me", headers=user.headers).status_code == 204
    assert stand.rows(kept) == [(0,)]


def test_a_purge_that_the_database_breaks_off_is_told_and_can_be_gone_on_with(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_id = stand.client.get("/me").json()["id"]
    asked = stand.ask(CHAT, Answer(("one",)), session_id="broken").json()
    purging = stand.server.server.parts.purging

    async def away(*_: object) -> None:
        raise RunnelError(Code.STORE_UNAVAILABLE, "away")

    with monkeypatch.context() as patch:
        patch.setattr(purging._store, "delete_messages", away)
        assert purge(stand, own_id, asked["session_id"]) == "store_unavailable"
        # For everybody it is gone already.
        assert purge(stand, own_id, asked["session_id"]) == "not_found"
        path = f"/api/generations/{asked['generation_id']}"
        assert stand.client.get(path).status_code == 404
        assert stand.rows("SELECT count(*) FROM sessions WHERE purged_at IS NOT NULL") == [(1,)]
    assert not purging._busy
    marked = [Marked(asked["session_id"], own_id)]
    stand.server.call(purging.finish(marked))
    until(lambda: stand.rows("SELECT count(*) FROM sessions WHERE purged_at IS NOT NULL") == [(0,)])
