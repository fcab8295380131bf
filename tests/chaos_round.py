"""One round: answers at many stages, readers at many doors, a fault in the middle, and what is then."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx

from assembling import TERMINAL, Json, assert_end, place_of, position
from chaos_answers import some_plan
from chaos_house import COUNT, FAULTS, LEASE_SECONDS, House
from chaos_reading import DOORS, Question, Reader
from doors import TLS
from serving import Signed

#: Of the issue: so long after the fault's end no generation may still be running.
TERMINAL_SECONDS: Final = 15.0
#: How long readers may take then.
_READ_SECONDS: Final = 15.0
_STAGES: Final = ("queued", "middle", "end", "flowing")
_LIVE: Final = frozenset({"queued", "running"})
_ROWS: Final = "SELECT id, status, owner, fence, epoch, last_offset FROM generations WHERE id = "


@dataclass(frozen=True, slots=True)
class Row:
    """What the database says of a generation."""

    id: str
    status: str
    owner: str
    fence: int
    epoch: int
    last_offset: int | None


@dataclass(slots=True)
class _Before:
    """How a question stood just before the fault: tries are read first, so they may be too few."""

    tries: int
    fence: int


class Round:
    """Everything in it is drawn by lot from `choice`."""

    def __init__(self, house: House, fault: str, choice: random.Random, name: str) -> None:
        self._house = house
        self._fault, makes, self._forgetful = FAULTS[fault]
        self._choice = choice
        self._name = name
        self._victim = choice.randrange(COUNT)
        others = [number for number in range(COUNT) if number != self._victim]
        self._makers = [self._victim] if makes else others
        self._others = others
        self._user = Signed("admin", "", house.instances.token)
        self._questions: list[Question] = []
        self._readers: list[Reader] = []
        self._reading: list[asyncio.Task[None]] = []
        self._abort_confirmed: set[str] = set()

    async def run(self) -> None:
        house, choice = self._house, self._choice
        house.talk.provider.hold()
        timeout = httpx.Timeout(10)
        async with httpx.AsyncClient(
            headers=self._user.headers, verify=TLS, timeout=timeout
        ) as client:
            try:
                await self._ask(client)
                await asyncio.sleep(choice.random() * 0.6)
                before = await self._stood()
                late = asyncio.create_task(self._ask_late())
                abort = asyncio.create_task(self._abort(client))
                await self._fault(house, self._victim, choice)
                over = time.monotonic()
                await asyncio.sleep(choice.random() * 0.3)
                house.talk.provider.release()
                await late
                rows = await self._ended(over)
                await self._read(over)
                await abort
                await house.heal()
                await self._agree(client, rows, before)
            finally:
                house.talk.provider.release()
                for task in self._reading:
                    task.cancel()
                await asyncio.gather(*self._reading, return_exceptions=True)

    async def _ask(self, client: httpx.AsyncClient) -> None:
        choice = self._choice
        for number in range(choice.randrange(3, 7)):
            question = self._question(f"{self._name} {number}", choice.choice(_STAGES))
            url = self._house.instances.url(choice.choice(self._makers))
            body = question.body | {"background": True}
            asked = await client.post(f"{url}/api/generate", json=body, headers=question.headers)
            assert asked.status_code == 202, asked.text
            question.learn(asked.headers)
            doors = [choice.choice(DOORS) for _ in range(choice.randrange(1, 3))]
            for door in doors:
                self._begin_reading(question, [door])
            self._begin_reading(question, DOORS)

    async def _ask_late(self) -> None:
        """While it breaks, at whatever instance; sent again until it is known to be taken."""
        await asyncio.sleep(self._choice.random() * 0.5)
        question = self._question(f"{self._name} late", self._choice.choice(_STAGES))
        self._begin_reading(question, ["post events"])
        self._begin_reading(question, DOORS)

    def _question(self, prompt: str, stage: str) -> Question:
        self._house.talk.expect(prompt, some_plan(self._choice, stage))
        model = "chat/prefilled" if self._house.continues else "chat/test"
        question = Question(self._house.instances.url(), self._user, prompt, model)
        self._questions.append(question)
        return question

    def _begin_reading(self, question: Question, doors: Sequence[str]) -> None:
        choice = random.Random(self._choice.random())
        reader = Reader(question, choice, doors, self._house.tally, forgetful=self._forgetful)
        self._readers.append(reader)
        self._reading.append(asyncio.create_task(reader.read()))

    async def _abort(self, client: httpx.AsyncClient) -> None:
        """One of them, perhaps, through another instance; until it is known to be taken."""
        choice = self._choice
        if choice.random() < 0.3:
            return
        chosen = choice.choice(self._questions)
        await asyncio.sleep(choice.random())
        url = self._house.instances.url(choice.choice(self._others))
        until = time.monotonic() + TERMINAL_SECONDS
        while time.monotonic() < until:
            with suppress(httpx.TransportError):
                path = f"/api/generations/{chosen.generation_id}/abort"
                answer = await client.post(url + path)
                if answer.status_code in {200, 202}:
                    if answer.json()["status"] == "aborted":
                        self._abort_confirmed.add(chosen.generation_id)
                    self._house.tally["aborts"] += 1
                    return
                assert answer.status_code in {502, 503, 504}, answer.text
            await asyncio.sleep(0.1)
        raise AssertionError("an abort was never taken")

    async def _stood(self) -> dict[str, _Before]:
        tries = {each.prompt: self._house.talk.tries(each.prompt) for each in self._questions}
        fences = {row.id: row.fence for row in await self._rows()}
        return {
            each.prompt: _Before(tries[each.prompt], fences[each.generation_id])
            for each in self._questions
        }

    async def _rows(self) -> list[Row]:
        ids = [each.generation_id for each in self._questions if each.generation_id]
        asked = " OR id = ".join("?" * len(ids))
        return [Row(*row) for row in await self._house.rows(f"{_ROWS}{asked}", *ids)]

    async def _ended(self, over: float) -> dict[str, Row]:
        """The rows, once all have their ends, which has to be soon."""
        while True:
            rows = await self._rows()
            live = [row for row in rows if row.status in _LIVE]
            seconds = time.monotonic() - over
            if not live and len(rows) == len(self._questions):
                self._house.slowest = max(self._house.slowest, seconds)
                return {row.id: row for row in rows}
            unknown = [each.prompt for each in self._questions if not each.generation_id]
            assert seconds < TERMINAL_SECONDS, f"live: {live}, not asked: {unknown}"
            await asyncio.sleep(0.1)

    async def _read(self, over: float) -> None:
        left = over + TERMINAL_SECONDS + _READ_SECONDS - time.monotonic()
        await asyncio.wait(self._reading, timeout=max(left, 1), return_when="FIRST_EXCEPTION")
        for task, reader in zip(self._reading, self._readers, strict=True):
            if task.done():
                try:
                    task.result()
                except AssertionError as error:
                    raise AssertionError(f"{error}; {reader}") from error
        still = [reader for reader in self._readers if not reader.shown.done]
        assert not still, f"they have no end: {still}"
        self._house.tally["resets"] += sum(each.shown.resets for each in self._readers)
        self._house.tally["readers"] += len(self._readers)

    async def _agree(
        self, client: httpx.AsyncClient, rows: dict[str, Row], before: dict[str, _Before]
    ) -> None:
        # Whoever was shut out has had the time to try.
        await asyncio.sleep(LEASE_SECONDS)
        assert {row.id: row for row in await self._rows()} == rows, "a row that has its end"
        for question in self._questions:
            kept = await self._kept(client, question)
            row = rows[question.generation_id]
            assert (kept["status"], place_of(kept["position"])) == (
                row.status,
                (row.epoch, row.last_offset),
            )
            self._assert_read(question, kept)
            self._assert_made(question, row, kept["text"], before.get(question.prompt))
            await self._assert_logged(question, row, kept)
            error: Json = kept["error"] or {}
            self._house.tally[" ".join([row.status, *error.get("code", "").split()])] += 1
            self._house.tally["takeovers"] += row.fence - 1
        self._house.tally["writers shut out"] += self._house.logged("generation.taken_over ")
        assert not self._house.logged("[error "), "an instance has met what it did not expect"
        for each in self._abort_confirmed:
            assert rows[each].status == "aborted", f"it was said to be: {rows[each]}"

    async def _kept(self, client: httpx.AsyncClient, question: Question) -> Json:
        answer = await client.get(f"{question.url}/api/generations/{question.generation_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def _assert_read(self, question: Question, kept: Json) -> None:
        """Every reader was told what is kept, and all the same."""
        told: dict[Any, str] = {}
        for reader in self._readers:
            if reader.question is not question:
                continue
            shown = reader.shown
            assert shown.text == kept["text"], f"{shown.text!r}\nis not\n{kept['text']!r}\n{reader}"
            assert shown.terminal is not None
            end = TERMINAL[shown.terminal.type], shown.place
            assert end == (kept["status"], place_of(kept["position"])), f"{end}: {reader}"
            assert_end(shown.terminal.members, kept)
            for place, text in shown.seen.items():
                assert told.setdefault(place, text) == text, f"{place} for {reader}"

    def _assert_made(self, question: Question, row: Row, text: str, before: _Before | None) -> None:
        """The text is of one try, or goes on with those before; if another has taken it over, its
        end is of one of the other's.
        """
        talk = self._house.talk
        made = talk.tries_of(question.prompt, text)
        assert made is not None, f"{text!r} was not said so; {row}"
        if not self._house.continues:
            assert len(made) <= 1, f"{text!r} is of several tries; {row}"
        self._house.tally["texts of several tries"] += len(made) > 1
        if row.status == "completed":
            assert text.endswith(talk.whole(question.prompt, made[-1]))
            if before is not None and row.fence > before.fence:
                assert made[-1] > before.tries, f"what was shut out has ended it: {row}"

    async def _assert_logged(self, question: Question, row: Row, kept: Json) -> None:
        """In the log is nothing that the last owner has not written."""
        key = f"{{{self._house.prefix}}}:%s:{row.id}"
        call = self._house.redis.call
        names = ("epoch", "last", "fence", "closed")
        meta = await asyncio.to_thread(call, "HMGET", key % "meta", *names)
        epoch, last, fence, closed, *_ = meta.split("\n")
        if not epoch:
            assert self._forgetful or row.status != "completed" or row.fence > 1, row
            return
        entries = await asyncio.to_thread(call, "--json", "XRANGE", key % "log", "-", "+")
        text, ends = "", 0
        for _, (_, entry) in json.loads(entries):
            for event in json.loads(entry):
                assert not ends, f"{event} behind the end of {row}"
                if isinstance(event, str):
                    text += event
                elif event["type"] == "reset":
                    text = event["text"]
                ends += isinstance(event, dict) and event["type"] in TERMINAL
        assert int(fence) <= row.fence, f"{fence} in the log of {row}"
        assert ends == int(closed)
        if ends:
            assert f"{epoch}-{last}" == position((row.epoch, row.last_offset or 0)), meta
            assert (text, int(fence)) == (kept["text"], row.fence)
        else:  # who has stored the end was gone before it could tell it
            assert self._house.talk.tries_of(question.prompt, text) is not None, text
            self._house.tally["logs without an end"] += 1
