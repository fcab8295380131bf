"""Whatever comes, in whatever order, the server answers as the contract says, and each only its own."""

import asyncio
import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import pytest
from websockets.exceptions import ConnectionClosed

from cuts import SEED, counts, no_errors, say
from holdings import held, settled
from provider import Answer
from random_frames import DOORS, NAMES, Babble, Door, Ids
from runnel.errors import Code
from serving import Signed
from sockets import Socket, opened, text_of
from standing import Json, Standing, standing
from waiting import soon
from wire import NOBODYS_ID

FRAMES: Final = int(os.environ.get("RUNNEL_FRAMES") or 3000)
VISITORS: Final = 12
MOST_AT_ONCE: Final = 30
#: What may end a socket here: the text is no UTF-8, the frame too large, the token nobody's, the
#: session foreign. And the client itself.
CLOSES: Final = {1007, 1009, 4401, 4404, 1000, 1006}
#: Type → the members that a frame of it has, and those that it may have.
SHARED: Final = {
    "pong": ("", ""),
    "error": ("code message retryable", "generation_id retry_after client_message_id"),
    "reset": ("generation_id text position", ""),
}
SHAPES: Final[dict[Door, dict[str, tuple[str, str]]]] = {
    "completions": SHARED
    | {
        "start": ("session_id generation_id", ""),
        "token": ("text", ""),
        "end": ("full_text", ""),
        "aborted": ("full_text", ""),
    },
    "session": SHARED
    | {
        "connected": ("session_id connection_id last_message_id running", ""),
        "message_saved": ("message_id client_message_id role content", ""),
        "stream_start": ("message_id generation_id", ""),
        "stream_chunk": ("content message_id position", ""),
        "stream_end": ("message_id metadata", ""),
        "message": ("message_id content metadata", ""),
        "aborted": ("generation_id message_id", ""),
        "typing": ("active connection_id user_id", ""),
    },
    "user": SHARED
    | {
        "error": (SHARED["error"][0], f"{SHARED['error'][1]} task_id chat_id"),
        "message": ("message", ""),
        "task": ("task_id chat_id", ""),
        "token": ("token task_id chat_id", ""),
        "aborted": ("task_id chat_id", ""),
    },
}
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Person:
    """A user with several connections, and all that these were told."""

    def __init__(self, signed: Signed) -> None:
        self.signed = signed
        self.canary = f"canary-of-{signed.username}"
        self.ids = Ids()
        self.told: list[str] = []
        self.tally = Counter[str]()
        self.other: Person = self

    async def listen(self, socket: Socket, door: Door, seen: Callable[[Json], None]) -> None:
        """Looks at each frame, until the socket is closed."""
        with suppress(ConnectionClosed):
            async for text in socket.connection:
                assert isinstance(text, str)
                self.told.append(text)
                frame = json.loads(text)
                self._check(frame, door)
                seen(frame)

    def _check(self, frame: Json, door: Door) -> None:
        kind = frame["type"]
        required, optional = (set(members.split()) for members in SHAPES[door][kind])
        assert required <= set(frame) - {"type"} <= required | optional, frame
        if kind == "error":
            assert frame["code"] in set(Code), frame
            kind = frame["code"]
        self.tally[kind] += 1
        body = frame["message"] if kind == "message" and door == "user" else frame
        for name, known in (
            ("generation_id", self.ids.generations),
            ("task_id", self.ids.generations),
            ("session_id", self.ids.sessions),
            ("chat_id", self.ids.sessions),
            ("message_id", self.ids.messages),
        ):
            if _UUID.fullmatch(str(body.get(name))):
                known.append(body[name])


class Visitor:
    """Says so many frames, over one connection after the other."""

    def __init__(self, stand: Standing, person: Person, door: Door, number: int) -> None:
        self._choice = random.Random(f"{SEED} {number}")
        self._stand = stand
        self._person = person
        self._door: Door = door
        self._babble = Babble(self._choice, person.canary, person.ids, person.other.ids)
        self._left = FRAMES // VISITORS
        self._mark = ""
        self._marked = asyncio.Event()

    async def visit(self) -> None:
        while self._left > 0:
            async with opened(self._stand.server, self._path(), self._person.signed) as socket:
                listening = asyncio.create_task(self._person.listen(socket, self._door, self._see))
                with suppress(ConnectionClosed):
                    await self._speak(socket, listening)
                if self._choice.random() < 0.5:
                    socket.cut()
                await socket.close()
                await listening
                code = socket.connection.close_code
                assert code in CLOSES
                self._person.tally[str(code)] += 1

    async def _speak(self, socket: Socket, listening: "asyncio.Task[None]") -> None:
        while self._left > 0 and self._choice.random() < 0.97:
            for _ in range(self._choice.randint(1, MOST_AT_ONCE)):
                await self._say(socket)
            if self._choice.random() < 0.1:
                return  # whatever is on its way
            # Its answer names the first member that is unknown; all before it is done by then.
            self._mark = f"mark{self._left}"
            await socket.send({self._mark: 1, "type": "abort", "action": "abort"})
            marked = asyncio.create_task(self._marked.wait())
            await asyncio.wait({marked, listening}, return_when=asyncio.FIRST_COMPLETED)
            marked.cancel()
            self._marked.clear()

    def _see(self, frame: Json) -> None:
        if self._mark and str(frame.get("message")).startswith(f"{self._mark}:"):
            self._marked.set()

    async def _say(self, socket: Socket) -> None:
        self._left -= 1
        frame = self._babble.frame(self._door)
        lot = self._choice.random()
        if lot < 0.001:
            await socket.connection.send(b'{"type":"p\xc3\x28ng"}', text=True)
        elif lot < 0.002:
            await socket.send(json.dumps({"type": "ping", "x": "x" * 70_000}))
        elif lot < 0.05 and isinstance(frame, str):
            half = len(frame) // 2
            await socket.connection.send([frame[:half], "", frame[half:]])
        else:
            await socket.send(frame)

    def _path(self) -> str:
        paths = {
            "completions": ["/ws/chat/completions"],
            "session": [f"/ws/{name}" for name in NAMES],
            "user": ["/ws", "/ws/me", "/ws/users/me", f"/ws/{self._person.signed.username}"],
        }[self._door]
        foreign = self._person.other.ids.sessions
        if self._door == "session" and foreign and self._choice.random() < 0.1:
            paths = [f"/ws/{self._choice.choice(foreign)}"]
        return self._choice.choice(paths)


def answer(ask: Json) -> Answer:
    """Says what it has seen; at times it takes a while, or fails."""
    question = ask["messages"][-1]["content"]
    seen = sorted(set(re.findall(r"canary-of-\w+", json.dumps(ask))))
    pieces = [f"{question[:40]}, ", *seen, " end"]
    match question[-1:]:
        case "1":
            return Answer([*pieces, *map(str, range(30))], delay=0.003)
        case "2" if len(question) % 2:
            return Answer(status=500)
        case _:
            return Answer(pieces)


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("frames")
    with standing(
        migrated,
        folder,
        websocket_frames_per_second=100_000,
        websocket_max_connections_per_user=100,
    ) as there:
        there.provider.answer("test", answer)
        yield there


@pytest.mark.timeout(180)  # a busy machine takes its time for so many
async def test_random_frames_disturb_nobody(
    stand: Standing, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    print(f"again with RUNNEL_TEST_SEED={SEED}")  # noqa: T201 - shown with a failure
    eve, bob = people = [
        Person(await asyncio.to_thread(stand.server.user, name)) for name in ("eve", "bob")
    ]
    eve.other, bob.other = bob, eve
    before = await asyncio.to_thread(held, stand)
    with no_errors(caplog):
        listened: tuple[tuple[str, Door], ...] = (("/ws", "user"), (f"/ws/{NAMES[0]}", "session"))
        async with AsyncExitStack() as stack:
            listening = [
                asyncio.create_task(
                    person.listen(
                        await stack.enter_async_context(opened(stand.server, path, person.signed)),
                        door,
                        lambda _: None,
                    )
                )
                for person in people
                for path, door in listened
            ]
            await asyncio.gather(
                *(
                    Visitor(stand, people[number % 2], DOORS[number // 2 % 3], number).visit()
                    for number in range(VISITORS)
                )
            )
            await soon(lambda: not stand.left_live())
            for person in people:
                await assert_answered(stand, person)
        await asyncio.gather(*listening)
        await settled(stand, before, but_descriptors=True)
    assert stand.held() == dict.fromkeys(stand.held(), 0)
    for person in people:
        told = "\n".join(person.told)
        assert person.other.canary not in told
        assert person.canary in told
    ids = [set(_UUID.findall("\n".join(person.told))) - {NOBODYS_ID} for person in people]
    assert not ids[0] & ids[1]
    say(f"{FRAMES} frames, {counts(eve.tally + bob.tally)}", capsys)


async def assert_answered(stand: Standing, person: Person) -> None:
    """A plain question, after all that, gets its answer."""
    async with opened(stand.server, "/ws/chat/completions", person.signed) as socket:
        await socket.send({"question": f"{person.canary} at last"})
        frames = await socket.answer()
        assert frames[-1] == {"type": "end", "full_text": text_of(frames)}
        assert person.canary in text_of(frames)
