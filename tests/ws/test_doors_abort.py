"""Aborting by any door what was asked by any other: all who follow are told, the text is kept."""

import asyncio
import random
from collections import Counter
from typing import Final

import pytest

from asking_doors import Heard, heard_at
from cuts import SEED
from door_readers import following
from doors import DOORS, FLOWING, Asked, ask_in_background
from provider import BEFORE_HEADERS, Answer
from racing import Moment
from socket_doors import SOCKETS, abort_at, event_of, path_at, question_at
from sockets import Socket, opened
from standing import Json, Standing
from waiting import soon

pytestmark = pytest.mark.usefixtures("tidy")

#: A busy machine may be slow to store an end; here it is waited for.
SETTINGS: Final = {"abort_wait_seconds": 20}
PIECES: Final = ("Hello", " wor", "ld")
WHOLE: Final = "".join(PIECES)
PLACES: Final = {"before the headers": BEFORE_HEADERS, "before a token": 0, "in mid-answer": 1}
ABORTERS: Final = ("http", *SOCKETS)
ROUNDS: Final = 8


async def abort(stand: Standing, asked: Asked, by: str) -> None:
    """Aborts it there, and waits until that is told."""
    if by == "http":
        async with stand.server.client(stand.user) as client:
            path = f"/api/generations/{asked.generation_id}/abort"
            assert (await client.post(path)).json()["status"] == "aborted"
        return
    async with opened(stand.server, asked.path(by), stand.user) as socket:
        if by == "ws completions":  # there only what it tells of can be aborted
            await socket.send(asked.frame(by))
            await socket.until("start")
        await socket.send(abort_at(by, asked.generation_id))
        await socket.until("aborted")


@pytest.mark.parametrize("by", ABORTERS)
@pytest.mark.parametrize("place", PLACES)
async def test_all_who_follow_are_told_whatever_their_door(
    stand: Standing, place: str, by: str
) -> None:
    stand.provider.hold()
    left = stand.provider.client_left.value
    text = PIECES[0] if place == "in mid-answer" else ""
    answer = Answer(PIECES, gate_after=PLACES[place])
    asked = ask_in_background(stand.client, stand.prompt(answer))
    await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
    async with following(asked, DOORS) as readers:
        await soon(lambda: stand.followers == len(DOORS))
        for door in FLOWING:
            await readers[door].shows(text)
        await abort(stand, asked, by)
        # At once, and nothing more is paid for.
        await asyncio.to_thread(stand.provider.client_left.wait_at_least, left + 1, 1)
    for reader in readers.values():
        assert (reader.text, reader.end, reader.done) == (text, "aborted", True), reader
        assert reader.told.get("full_text", text) == text
    assert stand.ended(asked.generation_id) == ("aborted", text, None, "user")
    # Again it is one abort, and the session takes the next question.
    await abort(stand, asked, "http")
    assert stand.ended(asked.generation_id) == ("aborted", text, None, "user")
    assert stand.ask("/chat", Answer(["on"]), session_id=asked.session_id).json()["text"] == "on"


@pytest.mark.parametrize("door", SOCKETS)
@pytest.mark.parametrize("place", PLACES)
async def test_who_asks_at_a_socket_aborts_there(stand: Standing, place: str, door: str) -> None:
    stand.provider.hold()
    text = PIECES[0] if place == "in mid-answer" else ""
    prompt = stand.prompt(Answer(PIECES, gate_after=PLACES[place]))
    async with opened(stand.server, path_at(door, prompt.replace(" ", "-")), stand.user) as socket:
        await socket.send(question_at(door, prompt))
        heard = Heard()
        while not heard.generation_id or heard.text != text:
            heard.take(await socket.next())
        await socket.send(abort_at(door, heard.generation_id))
        while heard.end is None:
            heard.take(await socket.next())
        assert (heard.end, heard.text) == ("aborted", text)
        assert await socket.told() == []
    assert stand.ended(heard.generation_id) == ("aborted", text, None, "user")


@pytest.mark.parametrize("door", SOCKETS)
@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [(Answer(PIECES), "completed", WHOLE), (Answer(PIECES, cut_after=1), "failed", PIECES[0])],
    ids=["completed", "failed"],
)
async def test_what_has_ended_stays_as_it_is_and_its_end_is_told(
    stand: Standing, door: str, answer: Answer, status: str, text: str
) -> None:
    prompt = stand.prompt(answer)
    async with opened(stand.server, path_at(door, prompt.replace(" ", "-")), stand.user) as socket:
        await socket.send(question_at(door, prompt))
        heard = await heard_at(socket)
        kept = stand.generation(heard.generation_id)
        assert (kept["status"], kept["text"]) == (status, text)
        for _ in range(2):
            await socket.send(abort_at(door, heard.generation_id))
            told = await socket.next()
            if door == "ws completions":  # nothing runs there
                assert (told["type"], told["code"]) == ("error", "not_found")
            else:
                assert told == heard.told
        assert await socket.told() == []
    assert stand.generation(heard.generation_id) == kept


async def test_by_many_at_once_it_is_one_abort(stand: Standing) -> None:
    for _ in range(3):
        stand.provider.hold()
        answer = Answer(PIECES, gate_after=1)
        asked = ask_in_background(stand.client, stand.prompt(answer))
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        async with following(asked, SOCKETS) as readers:
            for reader in readers.values():
                await reader.shows(PIECES[0])
            # The socket that would have to ask first has no time to, when others are faster.
            await asyncio.gather(*(abort(stand, asked, by) for by in ABORTERS if "comp" not in by))
        assert {(one.text, one.end) for one in readers.values()} == {(PIECES[0], "aborted")}
        assert stand.ended(asked.generation_id) == ("aborted", PIECES[0], None, "user")
        await asyncio.to_thread(stand.provider.at_gate.wait_at_most, 0)


@pytest.mark.parametrize("door", SOCKETS)
async def test_of_an_abort_and_the_end_one_holds_and_all_say_the_same(
    stand: Standing, door: str
) -> None:
    chance = random.Random(f"{SEED} {door}")
    moment = Moment(chance)

    async def release() -> None:
        await moment.first()
        stand.provider.release()

    counted = Counter[str]()
    for _ in range(ROUNDS):
        stand.provider.hold()
        prompt = stand.prompt(Answer(PIECES, gate_after=chance.choice((1, 2, 3))))
        path = path_at(door, prompt.replace(" ", "-"))
        async with opened(stand.server, path, stand.user) as socket:
            await socket.send(question_at(door, prompt))
            heard = Heard()
            while not heard.generation_id:
                heard.take(await socket.next())
            await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
            releasing = asyncio.create_task(release())
            await moment.second()
            await socket.send(abort_at(door, heard.generation_id))
            after = await ended(socket, heard)
            await releasing
            moment.second_won(won=after == "aborted")
        kept = stand.generation(heard.generation_id)
        assert (heard.text, kept["status"]) == (kept["text"], after), f"seed {SEED}"
        assert kept["text"] == WHOLE or (after == "aborted" and WHOLE.startswith(kept["text"]))
        counted[after] += 1
    print(f"{door}: {counted}; RUNNEL_TEST_SEED={SEED}")  # noqa: T201 - for whoever has to repeat it


async def ended(socket: Socket, heard: Heard) -> str:
    """The status as it was told, once all is said: any end that is told again is the same."""
    while heard.end is None:
        heard.take(await socket.next())
    for frame in await socket.told():
        event = event_of(frame)
        if event is None:  # the completions socket had ended, nothing ran there any more
            assert frame["code"] == "not_found"
        else:
            assert event == (heard.end, heard.told)
    return {"end": "completed", "aborted": "aborted"}[heard.end]


@pytest.mark.parametrize("door", ["ws session", "ws user"])
async def test_what_is_another_users_is_not_found_and_goes_on(stand: Standing, door: str) -> None:
    stand.provider.hold()
    asked = ask_in_background(stand.client, stand.prompt(Answer(PIECES, gate_after=1)))
    stranger = stand.server.user(f"stranger at {door[3:]}".replace(" ", "-"))
    async with opened(stand.server, path_at(door, "own"), stranger) as socket:

        async def refused(frame: Json) -> Json:
            await socket.send(frame)
            told = await socket.until("error")
            return told[-1] | {"generation_id": ""}

        foreign = await refused(abort_at(door, asked.generation_id))
        unknown = await refused(abort_at(door, asked.generation_id[:-4] + "0000"))
        assert foreign == unknown
        assert foreign["code"] == "not_found"
    assert stand.ended(asked.generation_id)[0] == "running"
    stand.provider.release()
    await soon(lambda: stand.ended(asked.generation_id)[0] == "completed")
