"""All instances end and start again, one after the other, under 200 streams: nothing is lost."""

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from cuts import SEED, counts, say
from doors import TLS
from instances import Instances, running
from provider import Answer, Provider
from rejoining import Rejoining
from serving import Signed
from standing import Json
from waiting import until

pytestmark = pytest.mark.timeout(240)

STREAMS: Final = 200
PIECES: Final = 30
SECONDS_A_PIECE: Final = 0.1
#: The first of all wait there until the last instance is back: they have to be handed on.
GATE: Final = 15
SETTINGS: Final[dict[str, Any]] = {"SHUTDOWN_GRACE_SECONDS": "0.5", "LEASE_SECONDS": "15"}
#: One new question each so many seconds, for as long as it takes.
ASK_SECONDS: Final = 0.3


def answer_of(ask: Json) -> Answer:
    """Words that only this question gets."""
    question = ask["messages"][-1]["content"]
    gate = GATE if question.startswith("first") else None
    return Answer(pieces_of(question), delay=SECONDS_A_PIECE, gate_after=gate)


def pieces_of(question: str) -> list[str]:
    return [f"{question}.{number} " for number in range(PIECES)]


@pytest.fixture
def instances(tmp_path: Path, provider: Provider) -> Iterator[Instances]:
    provider.hold()
    provider.answer("test", answer_of)
    with running(tmp_path, provider, count=3, **SETTINGS) as three:
        until(lambda: asked_in_turn(three))
        yield three


@dataclass(slots=True)
class Crowd:
    """Who asks and reads, all through nginx. `met`: what readers saw that is no close."""

    instances: Instances
    client: httpx.AsyncClient
    met: Counter[str] = field(default_factory=Counter[str])
    asking: Counter[str] = field(default_factory=Counter[str])
    accepted: dict[str, str] = field(default_factory=dict[str, str])
    all_asked: asyncio.Event = field(default_factory=asyncio.Event)
    readers: list[tuple[str, Rejoining]] = field(default_factory=list[tuple[str, Rejoining]])

    async def ask(self, question: str) -> None:
        """Asks as often as it has to, always with the one key; and then reads to the end."""
        choice = random.Random(f"{SEED} {question}")
        body = {"prompt": question, "format": "events", "background": True}
        headers = {"Idempotency-Key": question}
        while True:
            response = await self.client.post("/api/generate", json=body, headers=headers)
            self.asking[str(response.status_code)] += 1
            if response.status_code == 202:
                break
            # 502: it waited in the kernel's queue of a port that was closed; nginx sends no POST
            # a second time, so that whoever sent it has to.
            assert response.status_code in (502, 503), response.text
            await asyncio.sleep(choice.random() * 0.3)
        accepted = response.json()
        self.accepted[question] = accepted["generation_id"]
        if len(self.accepted) == STREAMS:
            self.all_asked.set()
        reader = Rejoining(self.met, choice)
        self.readers.append((question, reader))
        await self._read(reader, choice, accepted, body | {"background": False}, headers)

    async def _read(
        self,
        reader: Rejoining,
        choice: random.Random,
        accepted: Json,
        body: Json,
        headers: dict[str, str],
    ) -> None:
        door = choice.choice(("ticket", "ticket", "post", "channel"))
        if door == "channel":
            admin = Signed("admin", "", self.instances.token)
            await reader.by_channel(
                self.instances.nginx, admin, accepted["session_id"], accepted["generation_id"]
            )
        elif door == "post":
            request = self.client.build_request("POST", "/api/generate", json=body, headers=headers)
            await reader.by_stream(self.client, request)
        else:
            request = self.client.build_request("GET", accepted["events_url"])
            del request.headers["Authorization"]
            await reader.by_stream(self.client, request)


async def test_a_rolling_restart_loses_nothing_and_no_reader_sees_an_error(
    instances: Instances, provider: Provider, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = {"Authorization": f"Bearer {instances.token}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=instances.url(), headers=headers, timeout=60, limits=limits, verify=TLS
    ) as client:
        crowd = Crowd(instances, client)
        async with asyncio.timeout(200), asyncio.TaskGroup() as tasks:
            for number in range(STREAMS):
                tasks.create_task(crowd.ask(f"first{number}"))
            await crowd.all_asked.wait()
            restarting = tasks.create_task(asyncio.to_thread(restart_all, instances))
            number = 0
            while not restarting.done():
                tasks.create_task(crowd.ask(f"later{number}"))
                number += 1
                await asyncio.sleep(ASK_SECONDS)
            provider.release()
        assert len(crowd.accepted) == STREAMS + number
        for question, reader in crowd.readers:
            text = "".join(pieces_of(question))
            found = (await client.get(f"/api/generations/{crowd.accepted[question]}")).json()
            assert (found["status"], found["text"]) == ("completed", text), found
            assert (reader.end in {"end", "stream_end"}, reader.text) == (True, text), question
        await assert_asked_once(client, crowd)
    resets = sum(reader.resets for _, reader in crowd.readers)
    closes = crowd.met.pop("closes", 0)
    crowd.met.pop("resets of the connection", 0)
    say(
        f"rolling restart: {STREAMS} streams and {number} more asked meanwhile; {closes} closes,"
        f" {resets} resets; asks {counts(crowd.asking)}; met {counts(crowd.met) or 'nothing'}",
        capsys,
    )
    assert closes > STREAMS / 2, "nobody was sent away"
    crowd.met.pop("POST 503 shutting_down", 0)  # as any question: it is asked again
    assert not crowd.met


def asked_in_turn(instances: Instances) -> bool:
    """Whether nginx has handed something to each of them."""
    instances.client().get("/healthz").raise_for_status()
    by = set(re.findall(r'"upstream":"([^",]+)"', instances.nginx.log.read_text()))
    return by == {each.url.removeprefix("http://") for each in instances.every}


def restart_all(instances: Instances) -> None:
    """One after the other, and the next when the one before is ready."""
    for number in range(len(instances)):
        instances.terminate(number)
        assert instances.wait(number) == 0
        instances.restart(number)


async def assert_asked_once(client: httpx.AsyncClient, crowd: Crowd) -> None:
    """There is nothing but what was accepted: one answer for a key."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await client.get("/api/generations", params={"limit": "100"} | cursor)).json()
        found += [each["generation_id"] for each in page["generations"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert sorted(found) == sorted(crowd.accepted.values())
