"""What operators can see of streams: how many there are, who came back, what broke off and why."""

import asyncio
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from provider import Answer
from reading import Incoming
from serving import LiveServer, settings_for
from standing import Json, Standing, standing
from waiting import until

GENERATE = "/api/generate"
CHAT = "/chat"
PIECES = ("Hello", " world")
GATED = Answer(PIECES, gate_after=1)
JSON_PAGE = {"Accept": "application/json"}


class Page:
    """What the metrics say, and what has changed since."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._before = self._read()

    def _read(self) -> dict[str, float]:
        page = httpx.get(f"{self._url}/metrics").raise_for_status().text
        return {
            " ".join([sample.name.removeprefix("runnel_"), *sample.labels.values()]): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    def __getitem__(self, name: str) -> float:
        """A metric now, named with its labels; 0 where it has never been counted."""
        return self._read().get(name, 0)

    def grown(self, prefix: str) -> dict[str, float]:
        """By how much the counters of this name have grown since the page was made."""
        return {
            name: value - self._before.get(name, 0)
            for name, value in self._read().items()
            if name.startswith(prefix) and value != self._before.get(name, 0)
        }


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("metrics")
    with standing(migrated, folder, disconnect_grace_seconds=0.1) as there:
        yield there


@pytest.fixture
def page(stand: Standing) -> Page:
    stand.provider.release()
    until(lambda: stand.held()["producers"] == 0)
    until(lambda: len(stand.server.server.parts.chat._followers) == 0)
    stand.provider.at_gate.wait_at_most(0)
    stand.provider.hold()
    return Page(stand.server.url)


def events_url(response: httpx.Response) -> str:
    return f"/api/generations/{response.headers['X-Generation-Id']}/events"


def test_the_gauges_show_what_runs_who_reads_and_what_is_held(stand: Standing, page: Page) -> None:
    assert (page["running_generations"], page["attached_readers"]) == (0, 0)
    held = page["log_bytes"]
    body = {"message": stand.prompt(Answer(["x" * 1000, "y"], gate_after=1))}
    with stand.client.stream("POST", GENERATE, json=body) as response:
        reader = Incoming(response.iter_raw())
        reader.until(b"xxx\n")
        with stand.client.stream("GET", events_url(response)) as second:
            beside = Incoming(second.iter_raw())
            beside.until(b"start")
            assert (page["running_generations"], page["attached_readers"]) == (1, 2)
            assert held + 1000 < page["log_bytes"] < held + 3000
        until(lambda: page["attached_readers"] == 1)
        stand.provider.release()
        reader.rest()
    until(lambda: page["attached_readers"] == 0)
    assert page["running_generations"] == 0
    assert page["log_bytes"] > held + 1000  # it is kept a while
    generation_id = response.headers["X-Generation-Id"]

    async def forget() -> None:
        stand.log.drop(generation_id)

    stand.server.call(forget())
    assert page["log_bytes"] == held


async def test_who_waits_for_json_or_polls_is_a_reader_too(stand: Standing, page: Page) -> None:
    body = {"message": stand.prompt(GATED), "client_message_id": "waited-for"}
    async with stand.server.client(stand.user) as client:
        accepted = (await client.post(CHAT, json=body | {"background": True})).json()
        assert await asyncio.to_thread(page.__getitem__, "attached_readers") == 0
        url = f"/api/generations/{accepted['generation_id']}/events"
        waiting = asyncio.gather(
            client.post(CHAT, json=body),
            client.get(url, params={"after": "1-1", "wait": 30}, headers=JSON_PAGE),
        )
        await asyncio.to_thread(until, lambda: page["attached_readers"] == 2)
        stand.provider.release()
        answered, polled = await waiting
    assert answered.json()["text"] == "Hello world"
    assert polled.json()["events"][0]["text"] == " world"
    await asyncio.to_thread(until, lambda: page["attached_readers"] == 0)
    assert page["running_generations"] == 0


def test_coming_back_with_a_position_is_a_resume(stand: Standing, page: Page) -> None:
    body: Json = {"message": stand.prompt(Answer(PIECES)), "client_message_id": "resumed"}
    first = stand.client.post(GENERATE, json=body)
    url = events_url(first)
    for read, resumes in (
        (lambda: stand.client.get(url), 0),
        (lambda: stand.client.post(GENERATE, json=body), 0),
        (lambda: stand.client.get(url, headers=JSON_PAGE), 0),
        (lambda: stand.client.get(url, params={"after": "1-1"}), 1),
        (lambda: stand.client.get(url, headers={"Last-Event-ID": "1-2"}), 2),
        (lambda: stand.client.post(GENERATE, json=body, headers={"Last-Event-ID": "1-1"}), 3),
        # Who polls comes back all the time; at the end nothing is left to resume; and a position
        # that is none resumes nothing.
        (lambda: stand.client.get(url, headers=JSON_PAGE, params={"after": "1-0"}), 3),
        (lambda: stand.client.get(url, headers={"Last-Event-ID": "1-3"}), 3),
        (lambda: stand.client.get(url, params={"after": "x"}), 3),
    ):
        read()
        assert page.grown("resumes").get("resumes_total", 0) == resumes
    assert page.grown("resets") == {}


def test_text_that_is_given_anew_is_counted_by_why(stand: Standing, page: Page) -> None:
    url = events_url(stand.ask(CHAT, Answer(PIECES)))
    stand.client.get(url, params={"after": "1-77"})
    stand.client.get(url, params={"after": "7-7"}, headers=JSON_PAGE)
    assert page.grown("resets") == {"resets_total position": 2}
    generation_id = url.split("/")[3]

    async def forget() -> None:
        stand.log.drop(generation_id)

    stand.server.call(forget())
    stand.client.get(url)
    stand.client.get(url, params={"after": "1-1"})
    stand.client.get(url, params={"after": "1-2"})  # all the text was read
    assert page.grown("resets") == {"resets_total position": 2, "resets_total row": 2}


def test_aborts_are_counted_by_who(stand: Standing, page: Page) -> None:
    accepted = stand.ask(CHAT, GATED, background=True).json()
    for _ in range(2):  # the second finds nothing to abort
        stand.client.post(accepted["abort_url"])
    assert page.grown("aborts") == {"aborts_total user": 1}
    body = {"message": stand.prompt(GATED), "on_disconnect": "abort"}
    with stand.client.stream("POST", GENERATE, json=body) as response:
        Incoming(response.iter_raw()).until(b"Hello")
    until(lambda: page.grown("aborts").get("aborts_total disconnect") == 1)
    bea = stand.server.user("bea")
    body = {"message": stand.prompt(GATED), "background": True}
    stand.client.post(CHAT, json=body, headers=bea.headers).raise_for_status()
    stand.server.call(stand.server.server.administration.disable("bea"))
    until(lambda: page.grown("aborts").get("aborts_total server") == 1)
    assert page.grown("aborts") == {
        "aborts_total user": 1,
        "aborts_total disconnect": 1,
        "aborts_total server": 1,
    }
    assert page.grown("generations_total") == {"generations_total aborted": 3}
    assert page.grown("interruptions") == {}


def test_a_crash_and_a_stop_are_interruptions_of_their_own_kinds(
    migrated: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        folder.mkdir()
    with standing(migrated, folders[0]) as first:
        for _ in range(3):
            first.ask(CHAT, GATED, background=True)
        first.ask(CHAT, Answer(PIECES))
        first.provider.at_gate.wait_at_least(3)
        until(lambda: first.rows("SELECT count(*) FROM checkpoints") == [(3,)])
        left_by_a_crash(first, folders[1])
        page = Page(first.server.url)
        assert page["interruptions_total crash"] == 0
        first.server.call(first.server.server.parts.chat.drain(0))
        assert page["interruptions_total shutdown"] == 3
        assert page["generations_total interrupted"] == 3
        assert page["errors_total interrupted"] == 3
        with LiveServer(settings_for(folders[1])) as second:
            assert Page(second.url)["interruptions_total crash"] == 3
            assert Page(second.url)["interruptions_total shutdown"] == 0
            assert Page(second.url)["running_generations"] == 0


def left_by_a_crash(stand: Standing, into: Path) -> None:
    """Copies the server's data as they are at this moment."""
    data = stand.server.settings.data_dir
    for name in ("models.json", "jwt_secret"):
        shutil.copy(data / name, into / name)
    with (
        closing(sqlite3.connect(data / "runnel.db")) as source,
        closing(sqlite3.connect(into / "runnel.db")) as target,
    ):
        source.backup(target)


def test_no_metric_names_a_user_or_an_answer(stand: Standing, page: Page) -> None:
    generation_id = stand.ask(CHAT, Answer(PIECES)).headers["X-Generation-Id"]
    stand.client.get(f"/api/generations/{generation_id}/events")
    shown = httpx.get(f"{stand.server.url}/metrics").text
    assert "/api/generations/{generation_id}/events" in shown
    assert generation_id not in shown
    assert stand.user.username not in shown
    assert page["generations_total completed"] > 0
