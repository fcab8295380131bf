"""However often readers are cut, wherever, and however they come back: no gap, no repeat."""

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Coroutine, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from assembling import Assembled, assert_agree, reply_of, told_by_stream
from cuts import SEED, Question, Reader, counts, no_errors, say
from cutting_off import exchange
from provider import Answer
from reading import cleaned
from standing import Json, Standing, standing
from waiting import POLL_SECONDS, POLLS

CUTS: Final = int(os.environ.get("RUNNEL_CUTS") or 200)
ANSWERS_AT_ONCE: Final = 6
MOST_READERS: Final = 4
#: What sort of server → its share of the cuts, and its settings.
SERVERS: Final[dict[str, tuple[float, dict[str, Any]]]] = {
    "as it is": (0.4, {}),
    "small pages, early headers": (
        0.3,
        {"read_page_bytes": 300, "heartbeat_seconds": 0.02, "headers_after_seconds": 0.02},
    ),
    "forgetful": (0.3, {"stream_retention_seconds": 0.001, "checkpoint_seconds": 0.01}),
}
FRAGMENTS: Final = (
    *("[DONE]", "[DO", "NE]", "\n[DONE]\n", "\n", "\n\n", "\r", "\r\n", " ", "\t", "\0", ""),
    *("\u2028", "\u2029", "\u0085", "\ufeff", "\u00a0", "😀", "\ud83d", "\ude00", "👩\u200d👧"),
    *("data: ", "\nid: 9-9\n", "event: end", ":", "word", " another", "é", "漢字", '"', "\\"),
)


def some_pieces(choice: random.Random) -> list[str]:
    length = choice.choice((0, 1, 10, 40, 120, 200))
    pieces = ["".join(choice.choices(FRAGMENTS, k=choice.randrange(5))) for _ in range(length)]
    if choice.random() < 0.2:
        pieces.append(choice.choice(("漢😀", "x", "line\n")) * 2000)
    return pieces


def burst(pieces: Sequence[str]) -> bytes:
    """Pieces that the provider sends in one write."""
    chunks = (
        {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "test"}
        | {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}
        for piece in pieces
    )
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def some_answer(choice: random.Random, pieces: Sequence[str], *, breaks_off: bool) -> Answer:
    """The pieces at some pace."""
    said: list[str | bytes] = [*pieces]
    delay = 0.0
    match choice.choice(("at once", "trickle", "bursts")):
        case "trickle":
            delay = choice.random() * 0.006
        case "bursts":
            size = choice.randrange(2, 30)
            said = [burst(pieces[begin : begin + size]) for begin in range(0, len(pieces), size)]
            delay = choice.random() * 0.05
        case _:
            pass
    return Answer(
        said,
        delay=delay,
        escape=True,  # half a pair of surrogates has no UTF-8
        split_bytes=choice.choice((None, None, 50, 700)),
        cut_after=len(said) if breaks_off else None,
    )


class Run:
    """Answers asked for, cut and read, until there were cuts enough."""

    def __init__(self, stand: Standing, name: str, cuts: int) -> None:
        self.tally = Counter[str]()
        self.answers = 0
        self._stand = stand
        self._name = name
        self._forgetful = name == "forgetful"
        self._cuts = cuts
        self._numbers = count(1)

    async def ask_and_cut(self) -> None:
        while self.tally["cuts"] < self._cuts:
            self.answers += 1
            await self._one(random.Random(f"{SEED} {self._name} {next(self._numbers)}"))

    async def _one(self, choice: random.Random) -> None:
        breaks_off = choice.random() < 0.1
        pieces = ["It breaks off"] * breaks_off + some_pieces(choice)
        prompt = self._stand.prompt(some_answer(choice, pieces, breaks_off=breaks_off))
        question = Question(self._stand, prompt)
        readers = [
            Reader(question, random.Random(choice.random()), self.tally, forgetful=self._forgetful)
            for _ in range(choice.randint(1, MOST_READERS))
        ]

        async def once_asked(act: Coroutine[Any, Any, object]) -> None:
            await question.asked.wait()
            await act

        acts: list[Coroutine[Any, Any, object]] = [reader.read() for reader in readers[1:]]
        if choice.random() < 0.15:
            acts.append(self._abort(question, choice.random() * 0.03))
        await asyncio.gather(readers[0].read(), *map(once_asked, acts))
        kept = await asyncio.to_thread(self._stand.generation, question.generation_id)
        assert_agree([reader.assembled for reader in readers], kept)
        for reader in readers:
            await reader.find_nothing_more()
        self._assert_stored(kept, cleaned(pieces), "failed" if breaks_off else "completed")

    async def _abort(self, question: Question, seconds: float) -> None:
        await asyncio.sleep(seconds)
        path = f"/api/generations/{question.generation_id}/abort"
        response = await asyncio.to_thread(self._stand.client.post, path)
        assert response.status_code == 200, response.text

    def _assert_stored(self, kept: Json, whole: str, status: str) -> None:
        [[stored, content]] = self._stand.rows(
            "SELECT g.status, CAST(content AS BLOB) FROM messages m"  # noqa: S608 - our own id
            f" JOIN generations g ON m.id = g.message_id WHERE m.id = '{kept['message_id']}'"
        )
        self.tally[stored] += 1
        assert (stored, content) == (kept["status"], kept["text"].encode())
        if stored == "aborted":
            # Of a pair of surrogates that is cut apart, the first half is no character.
            assert whole.startswith(kept["text"].removesuffix("\ufffd"))
        else:
            assert (stored, kept["text"]) == (status, whole)

    async def assert_nothing_is_left(self) -> None:
        """None of the readers holds anything any more, and each question was asked once."""
        for _ in range(POLLS):
            if self._idle:
                break
            await asyncio.sleep(POLL_SECONDS)
        assert self._idle, (self._stand.held(), self._stand.server.connections)
        asks = [ask.body["messages"][-1]["content"] for ask in self._stand.provider.asks]
        assert len(asks) == len(set(asks))
        # An abort may come before the provider is asked.
        assert self.answers - self.tally["aborted"] <= len(asks) <= self.answers
        [[rows]] = self._stand.rows("SELECT count(*) FROM generations")
        assert rows == self.answers

    @property
    def _idle(self) -> bool:
        # Our own client keeps its connections.
        mine = self._stand.server.connections <= ANSWERS_AT_ONCE
        return mine and not any(self._stand.held().values())


@pytest.mark.parametrize("name", SERVERS)
async def test_cut_anywhere_and_resumed_by_any_door_there_is_no_gap_and_no_repeat(
    migrated: Path,
    tmp_path: Path,
    name: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    share, changes = SERVERS[name]
    with no_errors(caplog), standing(migrated, tmp_path, **changes) as stand:
        run = Run(stand, name, round(CUTS * share))
        try:
            await asyncio.gather(*(run.ask_and_cut() for _ in range(ANSWERS_AT_ONCE)))
            await run.assert_nothing_is_left()
        finally:
            say(f"cuts, server {name}: answers {run.answers}, {counts(run.tally)}", capsys)


@pytest.mark.parametrize("form", ["text", "events"])
@pytest.mark.parametrize("status", ["failed", "aborted"])
async def test_who_is_cut_between_the_end_and_its_mark_is_not_told_the_end_again(
    migrated: Path, tmp_path: Path, status: str, form: str
) -> None:
    choice = random.Random(SEED)
    with standing(migrated, tmp_path) as stand:
        gate_after = 1 if status == "aborted" else None
        answer = Answer(["It breaks off"], gate_after=gate_after, cut_after=1)
        question = Question(stand, stand.prompt(answer))
        asking = question.asking(choice, "background", form, None)
        asked = reply_of(await exchange(question.port, asking)).headers
        question.learn(asked["x-generation-id"], asked["x-session-id"])
        attaching = question.reading(choice, "events", form, None)
        reading = asyncio.create_task(exchange(question.port, attaching))
        if gate_after:
            await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
            path = f"/api/generations/{question.generation_id}/abort"
            await asyncio.to_thread(stand.client.post, path)
        *frames, mark, nothing = reply_of(await reading).body.split(b"\n\n")
        assert (mark[:12], nothing) == (b"data: [DONE]", b"")
        read = Assembled()
        for told in told_by_stream(b"\n\n".join([*frames, b""]), form):
            read.take(told)
        assert read.terminal, "the end has no position to come back with"
        assert read.terminal.type == status
        back = question.reading(choice, "events", form, read.place)
        assert reply_of(await exchange(question.port, back)).status == 204
