"""Aborting: at any moment, for everybody, at once; the text is kept and the provider let go."""

import asyncio
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from answers import Chat, read_to_end
from away import Away
from provider import BEFORE_HEADERS, Answer
from reading import Incoming, parsed, parsed_events
from runnel.chat.choosing import Choose
from runnel.chat.entities import Ask, Generation
from runnel.chat.ports import Begun, Joined, Seen, Store
from standing import Json, Standing, standing
from waiting import until
from wire import NOBODYS_ID, problem

GENERATE = "/api/generate"
CHAT = "/chat"
PIECES = ("Hello", " wor", "ld")
WHOLE = "".join(PIECES)
GATED = Answer(PIECES, gate_after=1)
SILENT = Answer(PIECES, gate_after=BEFORE_HEADERS)
#: Within so many seconds the provider is let go.
AT_ONCE = 1.0


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("abort")
    with standing(migrated, folder, headers_after_seconds=0.05) as there:
        yield there


@pytest.fixture(autouse=True)
def closed_gate(stand: Standing) -> Iterator[None]:
    with stand.gate_closed():
        yield


def begun(stand: Standing, answer: Answer = GATED, **body: Any) -> str:
    """An answer in the background that stands at its gate, the text before it stored."""
    accepted = stand.ask(CHAT, answer, background=True, **body).json()
    generation_id = accepted["generation_id"]
    stand.provider.at_gate.wait_at_least(1)
    if answer is GATED:
        until(lambda: stand.generation(generation_id)["text"] == "Hello")
    return generation_id


def abort(stand: Standing, generation_id: str) -> httpx.Response:
    return stand.client.post(f"/api/generations/{generation_id}/abort")


def confirmed(response: httpx.Response, status: str = "aborted", text: str = "Hello") -> Json:
    """The generation, which has ended."""
    assert response.status_code == 200, response.text
    body = response.json()
    assert (body["status"], body["text"]) == (status, text)
    return body


def assert_let_go(stand: Standing, left: int) -> None:
    """One more client of the provider has closed its connection, and that at once."""
    stand.provider.client_left.wait_at_least(left + 1, AT_ONCE)


def test_in_mid_answer_it_stops_the_provider_and_keeps_the_text(stand: Standing) -> None:
    left = stand.provider.client_left.value
    generation_id = begun(stand, session_id="goes-on")
    body = confirmed(abort(stand, generation_id))
    assert_let_go(stand, left)
    assert body == stand.generation(generation_id)
    assert (body["finish_reason"], body["error"], body["position"]) == (None, None, "1-2")
    assert body["usage"]["source"] == "estimated"
    assert min(body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) > 0
    assert stand.held()["producers"] == 0
    # At once the session takes the next question, which sees what there was of the answer.
    assert stand.ask(CHAT, Answer(["on"]), session_id="goes-on").json()["text"] == "on"
    assert [turn["content"] for turn in stand.provider.asks[-1].body["messages"]][1] == "Hello"


@pytest.mark.parametrize("headers_after", [0.05, 30])
@pytest.mark.parametrize("form", ["text", "events"])
async def test_before_the_first_token_it_holds_as_well(
    stand: Standing, monkeypatch: pytest.MonkeyPatch, form: str, headers_after: float
) -> None:
    monkeypatch.setattr(stand.server.settings, "headers_after_seconds", headers_after)
    left = stand.provider.client_left.value
    body = {"prompt": stand.prompt(SILENT), "format": form}
    async with stand.server.client(stand.user) as client:
        asking = asyncio.create_task(client.post(GENERATE, json=body))
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        [running] = (await client.get("/api/generations?status=running")).json()["generations"]
        kept = confirmed(await asyncio.to_thread(abort, stand, running["generation_id"]), text="")
        await asyncio.to_thread(assert_let_go, stand, left)
        response = await asking
    assert response.status_code == 200  # what somebody wanted is no fault
    *start, named, done = parsed(response.content)
    assert (len(start), named.event, done.data) == (form == "events", "aborted", "[DONE]")
    assert named.json() == {"by": "user", "usage": kept["usage"]}
    assert (kept["usage"]["completion_tokens"], kept["first_token_ms"]) == (0, None)


async def test_all_who_follow_are_told_whatever_their_door(stand: Standing) -> None:
    body = {"message": stand.prompt(GATED), "client_message_id": "followed"}
    async with stand.server.client(stand.user) as client:
        as_json = asyncio.create_task(client.post(CHAT, json=body))
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        [running] = (await client.get("/api/generations?status=running")).json()["generations"]
        generation_id = running["generation_id"]
        address = f"/api/generations/{generation_id}/events"
        polls = {"Accept": "application/json"}
        reading = asyncio.gather(
            client.post(GENERATE, json=body),
            client.get(address),
            client.get(address, params={"format": "text"}),
            client.get(address, params={"after": "1-1", "wait": 30}, headers=polls),
        )
        chat = stand.server.server.parts.chat
        await asyncio.to_thread(until, lambda: len(chat._followers) == 5)
        kept = confirmed(await asyncio.to_thread(abort, stand, generation_id))
        text, events, attached_text, polled = await reading
        answer = (await as_json).json()
    told = {"by": "user", "usage": kept["usage"]}
    for response in (text, attached_text):
        token, named, done = parsed(response.content)
        assert (token.data, named.event, named.json()) == ("Hello", "aborted", told)
        assert done.data == "[DONE]"
    assert [(event.name, event.id) for event in parsed_events(events.content)] == [
        ("start", "1-0"),
        ("token", "1-1"),
        ("aborted", "1-2"),
    ]
    assert parsed_events(events.content)[-1].data == told
    ended = {"position": "1-2", "type": "aborted"} | told
    assert polled.json() == {"events": [ended], "position": "1-2", "done": True}
    assert (answer["text"], answer["finish_reason"]) == ("Hello", "aborted")
    assert answer["usage"] == kept["usage"]


async def test_twice_or_by_many_at_once_it_is_one_abort(stand: Standing) -> None:
    generation_id = await asyncio.to_thread(begun, stand)
    path = f"/api/generations/{generation_id}/abort"
    async with stand.server.client(stand.user) as client:
        responses = await asyncio.gather(*(client.post(path) for _ in range(5)))
        responses.append(await client.post(path))
    first = confirmed(responses[0])
    assert [confirmed(response) for response in responses] == [first] * 6


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [(Answer(PIECES), "completed", WHOLE), (Answer(PIECES, cut_after=1), "failed", "Hello")],
    ids=["completed", "failed"],
)
def test_what_has_ended_stays_as_it_is(
    stand: Standing, answer: Answer, status: str, text: str
) -> None:
    generation_id = stand.ask(CHAT, answer).headers["X-Generation-Id"]
    before = stand.generation(generation_id)
    assert confirmed(abort(stand, generation_id), status, text) == before
    assert stand.generation(generation_id) == before
    flagged = "SELECT count(*) FROM generations WHERE abort_requested_at IS NOT NULL AND id = "
    assert stand.rows(f"{flagged}'{generation_id}'") == [(0,)]


def test_what_is_not_ones_own_is_not_found_and_goes_on(stand: Standing) -> None:
    generation_id = begun(stand)
    stranger = stand.server.user("stranger")
    path = f"/api/generations/{generation_id}/abort"
    problem(stand.client.post(path, headers=stranger.headers), 404, "not_found")
    nobody = httpx.post(f"{stand.server.url}{path}")
    problem(nobody, 401, "unauthorized")
    for unknown in (NOBODYS_ID, "no-id", "%00", "x" * 2000):
        problem(abort(stand, unknown), 404, "not_found")
    assert stand.client.get(path).status_code == 405
    stand.provider.release()
    until(lambda: stand.generation(generation_id)["status"] == "completed")


async def test_of_an_abort_and_the_end_one_holds_and_all_say_the_same(stand: Standing) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201 - for whoever has to repeat it
    chance = random.Random(seed)
    async with stand.server.client(stand.user) as client:
        for _ in range(10):
            stand.provider.hold()
            generation_id = await asyncio.to_thread(begun, stand)
            path = f"/api/generations/{generation_id}"
            reading = asyncio.create_task(client.get(f"{path}/events"))
            stand.provider.release()
            await asyncio.sleep(chance.random() * 0.02)
            aborted = (await client.post(f"{path}/abort")).json()
            kept = (await client.get(path)).json()
            assert aborted == kept
            assert kept["status"] in {"aborted", "completed"}
            assert kept["text"] == WHOLE or kept["status"] == "aborted"
            assert WHOLE.startswith(kept["text"])
            events = parsed_events((await reading).content)
            ends = [event for event in events if event.name in {"end", "aborted", "failed"}]
            assert [(event.name, event.id) for event in ends] == [
                ("aborted" if kept["status"] == "aborted" else "end", kept["position"])
            ]
            assert events[-1] == ends[0]


def test_an_abort_whose_end_is_not_stored_yet_is_requested_and_comes(
    stand: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = stand.server.server.parts.chat
    away = Away(chat._store)
    monkeypatch.setattr(chat._making, "_store", away)
    monkeypatch.setattr(chat, "_rules", replace(chat._rules, abort_wait_seconds=0.05))
    left = stand.provider.client_left.value
    generation_id = begun(stand)
    for _ in range(2):
        requested = abort(stand, generation_id)
        assert (requested.status_code, requested.json()["status"]) == (202, "abort_requested")
        assert requested.json()["generation_id"] == generation_id
    assert_let_go(stand, left)  # nothing more is paid for meanwhile
    assert stand.generation(generation_id)["status"] == "running"
    with stand.client.stream("GET", f"/api/generations/{generation_id}/events") as response:
        reader = Incoming(response.iter_raw())
        reader.until(b"Hello")
        assert b"aborted" not in reader.body  # what is not stored is not told
        away.back.set()
        assert parsed_events(reader.rest())[-1].name == "aborted"
    confirmed(abort(stand, generation_id))


class Hasty:
    """A store in which somebody aborts each answer before its producer has begun."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.chat: Chat
        self.aborting: asyncio.Task[Generation]
        self.requested = asyncio.Event()

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    async def begin_ask(self, ask: Ask, choose: Choose, owner: str) -> Begun | Joined:
        begun = await self._store.begin_ask(ask, choose, owner)
        self.aborting = asyncio.create_task(
            self.chat.service().abort(ask.user_id, begun.generation.id)
        )
        await self.requested.wait()
        return begun

    async def request_abort(self, user_id: str, generation_id: str, by: str) -> Seen | None:
        seen = await self._store.request_abort(user_id, generation_id, by)
        assert seen is not None
        assert seen.end is None
        self.requested.set()
        return seen


async def test_a_request_from_before_the_producer_began_is_honoured(
    migrated: Path, tmp_path: Path
) -> None:
    file = tmp_path / "chat.db"
    shutil.copy(migrated, file)
    async with Chat(file, store=lambda store: cast("Store", Hasty(store))) as chat:
        hasty = cast("Hasty", chat.store)
        hasty.chat = chat
        asked = await chat.service().ask(chat.question())
        chat.model.say("never heard")
        events = await read_to_end(await chat.follow(asked))
        assert [event.type for event in events] == ["start", "aborted"]
        kept = await chat.stored(asked)
        assert (kept.status, kept.text, kept.aborted_by) == ("aborted", "", "user")
        assert await hasty.aborting == kept
        assert chat.model.asked == []  # nothing was paid for
