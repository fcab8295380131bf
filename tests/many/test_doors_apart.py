"""Asked at one instance, followed from any position at another, aborted at a third: at every door."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import pytest

from asking_doors import ASKED_AT, Heard, asked_at
from door_readers import Reader, following
from doors import DOORS, FLOWING, RESUMING, Asked
from provider import BEFORE_HEADERS, Answer
from several import Several, Side
from socket_doors import SOCKETS, abort_at
from sockets import opened
from standing import Json

#: A busy machine may be slow to store an end; here it is waited for.
SETTINGS: Final = {
    "ABORT_WAIT_SECONDS": "20",
    "HEADERS_AFTER_SECONDS": "0.1",
    "WEBSOCKET_FRAMES_PER_SECOND": "10000",
}
#: On a busy machine instances take long to start.
pytestmark = pytest.mark.timeout(180)

PIECES: Final = ("one", " two\n", "\n thrée", " 4", " five😀", " [DONE]", "\n", "end")
WHOLE: Final = "".join(PIECES)
#: What there is before the gate.
HALF: Final = 4
ABORTERS: Final = ("http", *SOCKETS)
PLACES: Final = {"before the headers": BEFORE_HEADERS, "before a token": 0, "in mid-answer": HALF}


@asynccontextmanager
async def asking(
    three: Several, door: str, answer: Answer
) -> AsyncGenerator[tuple[Asked, "asyncio.Task[Heard]"]]:
    """Inside, an answer that was asked for there, at the first instance, stands at its gate."""
    three.provider.hold()
    prompt = three.prompt(answer)
    name = f"{door}-{prompt}".replace(" ", "-")
    key = f"key of {name}"
    first = three.sides[0]
    task = asyncio.create_task(asked_at(first, three.user, door, prompt, session=name, key=key))
    try:
        await asyncio.to_thread(three.provider.at_gate.wait_at_least, 1)
        [live] = await asyncio.to_thread(three.live, 1)
        question = {"prompt": prompt, "session_id": name}
        yield await asyncio.to_thread(three.asked, 1, question, key, live), task
        await task
    finally:
        three.provider.release()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def assert_linear(reader: Reader, after: int, last: int) -> None:
    """Each position once, from the one behind `after` on, and nothing was lost on the way."""
    assert "reset" not in reader.events, reader
    told = [int(position.removeprefix("1-")) for position in reader.positions]
    if told:  # a post shows none, but to who has a key; two of the sockets show none at all
        assert told == list(range(told[0], told[-1] + 1)), reader
        # `start` and the end have no frame with a position at every door.
        assert told[0] in {after + 1, 1}, (reader, told)
        assert told[-1] in {last, last - 1}, (reader, told)


@pytest.mark.parametrize("door", ASKED_AT)
async def test_what_was_asked_elsewhere_is_followed_and_resumed_at_every_door(
    three: Several, door: str
) -> None:
    half, behind = "".join(PIECES[:HALF]), HALF - 2
    async with AsyncExitStack() as stack:
        asked, task = await stack.enter_async_context(
            asking(three, door, Answer(PIECES, gate_after=HALF))
        )
        there = [asked.served_by(side.url) for side in three.sides]
        whole: list[Reader] = []
        for each in there[1:]:
            whole += (await stack.enter_async_context(following(each, DOORS))).values()
        for reader in whole:
            if reader.door in FLOWING:
                await reader.shows(half)
        resumed: list[Reader] = []
        for each in there:
            readers = following(each, RESUMING, after=f"1-{behind}")
            resumed += (await stack.enter_async_context(readers)).values()
        for reader in resumed:
            await reader.shows("".join(PIECES[behind:HALF]))
        three.provider.release()
        heard = await task
    assert (heard.end, heard.text) == ("end", WHOLE)
    kept = [three.generation(number, asked.generation_id) for number in range(3)]
    assert (kept[0]["status"], kept[0]["text"]) == ("completed", WHOLE)
    assert kept[0] == kept[1] == kept[2]
    last = int(kept[0]["position"].removeprefix("1-"))
    for reader in whole:
        assert (reader.text, reader.end, reader.done) == (WHOLE, "end", True), reader
        assert_linear(reader, -1, last)
    for reader in resumed:
        rest = "".join(PIECES[behind:])
        assert (reader.text, reader.end, reader.done) == (rest, "end", True), reader
        assert_linear(reader, behind, last)
    assert_one_end([*whole, *resumed])
    assert three.asks(asked.question["prompt"]) == 1


def assert_one_end(readers: Sequence[Reader]) -> None:
    """Whoever reads at one door is told one and the same, at whatever instance."""
    told = defaultdict[str, list[Json]](list)
    for reader in readers:
        door = "attach events" if reader.door == "ticket" else reader.door
        told[door].append({k: v for k, v in reader.told.items() if k != "position"})
    for door, ends in told.items():
        assert all(end == ends[0] for end in ends), (door, ends)
    # The same members in the two that tell them all.
    assert told["attach events"][0] == told["chat events"][0]


@pytest.mark.parametrize("by", ABORTERS)
@pytest.mark.parametrize("door", ASKED_AT)
async def test_aborted_at_a_third_all_are_told_and_the_partial_is_kept(
    three: Several, door: str, by: str
) -> None:
    place = list(PLACES)[(ASKED_AT.index(door) + ABORTERS.index(by)) % len(PLACES)]
    text = "".join(PIECES[:HALF]) if place == "in mid-answer" else ""
    left = three.provider.client_left.value
    answer = Answer(PIECES, gate_after=PLACES[place])
    async with asking(three, door, answer) as (asked, task):
        async with following(asked, DOORS) as readers:
            for flowing in FLOWING:
                await readers[flowing].shows(text)
            await readers["post events"].until(lambda reader: bool(reader.events))
            await abort(three, asked.served_by(three.url(2)), by)
            # At once, and nothing more is paid for.
            await asyncio.to_thread(three.provider.client_left.wait_at_least, left + 1, 2)
        heard = await task
    assert (heard.end, heard.text) == ("aborted", text)
    for reader in readers.values():
        assert (reader.text, reader.end, reader.done) == (text, "aborted", True), reader
        assert reader.told.get("full_text", text) == text
        assert "reset" not in reader.events, reader
    for number in range(3):
        kept = three.generation(number, asked.generation_id)
        assert (kept["status"], kept["text"]) == ("aborted", text)
        again = three.call(number, "POST", f"/api/generations/{asked.generation_id}/abort")
        assert (again.status_code, again.json()["status"]) == (200, "aborted")
    # The session takes the next question, anywhere.
    question = {"message": three.prompt(Answer(["on"])), "session_id": asked.session_id}
    assert three.call(2, "POST", "/chat", question).json()["text"] == "on"


async def abort(three: Several, asked: Asked, by: str) -> None:
    """Aborts it there, and waits until that is told."""
    if by == "http":
        async with Side(asked.url).client(three.user) as client:
            answer = await client.post(f"/api/generations/{asked.generation_id}/abort")
            assert (answer.status_code, answer.json()["status"]) == (200, "aborted")
        return
    async with opened(asked, asked.path(by), three.user) as socket:
        if by == "ws completions":  # there only what it tells of can be aborted
            await socket.send(asked.frame(by))
            await socket.until("start")
        await socket.send(abort_at(by, asked.generation_id))
        await socket.until("aborted")


async def test_what_was_asked_through_v1_is_aborted_at_another(three: Several) -> None:
    three.provider.hold()
    answer = Answer(PIECES, gate_after=HALF)
    content = three.prompt(answer)
    body = {"model": "chat/test", "messages": [{"role": "user", "content": content}]}
    path = "/v1/chat/completions"
    async with three.sides[0].client(three.user) as client:
        for stream in (False, True):
            asking = asyncio.create_task(client.post(path, json=body | {"stream": stream}))
            await asyncio.to_thread(three.provider.at_gate.wait_at_least, 1)
            [live] = await asyncio.to_thread(three.live, 1)
            aborting = f"/api/generations/{live['generation_id']}/abort"
            answered = await asyncio.to_thread(three.call, 2, "POST", aborting)
            assert (answered.status_code, answered.json()["status"]) == (200, "aborted")
            told = await asking
            assert told.status_code == 200
            assert '"finish_reason":"aborted"' in told.text
            if stream:
                assert told.text.endswith("data: [DONE]\n\n")
            else:
                assert told.json()["choices"][0]["message"]["content"] == "".join(PIECES[:HALF])
