"""Readers come, leave, stall and are many; answers are whole all the same."""

import asyncio
import resource
import socket
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from provider import BEFORE_HEADERS, Answer, Provider
from reading import dechunked, parsed_events, simplest_text, text_of
from serving import LiveServer, Signed
from standing import Json, Serve, Standing, standing
from waiting import POLL_SECONDS, POLLS, soon

GENERATE = "/api/generate"
IDLE = {"producers": 0, "tasks": 0, "readers": 0, "holdings": 0}
STREAMS = 500
PIECES = [f"{number} " for number in range(50)]
WHOLE = "".join(PIECES)


@pytest.fixture(scope="module")
def stand(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    folder = tmp_path_factory.mktemp("leaving")
    with standing(migrated, folder, headers_after_seconds=0.1) as there:
        yield there


async def ended(client: httpx.AsyncClient, generation_id: str) -> Json:
    """The generation as the API shows it once it has ended."""
    for _ in range(POLLS):
        shown = (await client.get(f"/api/generations/{generation_id}")).json()
        if shown["status"] not in {"queued", "running"}:
            return shown
        await asyncio.sleep(POLL_SECONDS)
    raise AssertionError(f"{generation_id} does not end")


async def assert_idle(stand: Standing) -> None:
    """Nothing is held for anybody, or will not be in a moment."""
    for _ in range(POLLS):
        if stand.held() == IDLE:
            return
        await asyncio.sleep(POLL_SECONDS)
    assert stand.held() == IDLE


def assert_whole(kept: Json, text: str = WHOLE) -> None:
    assert (kept["status"], kept["text"], kept["finish_reason"]) == ("completed", text, "stop")
    assert kept["usage"]["source"] == "provider"


@pytest.mark.parametrize("form", ["text", "events"])
@pytest.mark.parametrize("gate_after", [BEFORE_HEADERS, 0, 20])
async def test_a_client_that_leaves_a_stream_loses_nothing(
    stand: Standing, gate_after: int, form: str
) -> None:
    stand.provider.hold()
    prompt = stand.prompt(Answer(PIECES, gate_after=gate_after))
    async with stand.server.client(stand.user) as client:
        body = {"prompt": prompt, "format": form}
        async with client.stream("POST", GENERATE, json=body) as response:
            if gate_after > 0:
                async for chunk in response.aiter_raw():
                    if b"19 " in chunk:
                        break
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)  # left in mid-answer
        stand.provider.release()
        assert_whole(await ended(client, response.headers["X-Generation-Id"]))
    await assert_idle(stand)


@pytest.mark.parametrize(
    ("path", "body"), [("/chat", {}), (GENERATE, {}), (GENERATE, {"format": "events"})]
)
async def test_a_client_that_leaves_before_the_headers_loses_nothing(
    stand: Standing, path: str, body: dict[str, Any]
) -> None:
    stand.provider.hold()
    prompt = stand.prompt(Answer(PIECES, gate_after=BEFORE_HEADERS))
    session = f"left-{prompt.split()[-1]}"
    async with stand.server.client(stand.user) as client:
        post = client.post(path, json={"message": prompt, "session_id": session} | body)
        question = asyncio.create_task(post)
        await asyncio.to_thread(stand.provider.at_gate.wait_at_least, 1)
        question.cancel()
        busy = await client.post("/chat", json={"message": "?", "session_id": session})
        assert busy.status_code == 409
        stand.provider.release()
        assert_whole(await ended(client, busy.json()["generation_id"]))
    await assert_idle(stand)


async def test_a_client_that_leaves_while_its_question_is_written_down_is_answered(
    stand: Standing,
) -> None:
    prompt = stand.prompt(Answer(PIECES))
    with locked(stand), asking(stand.server, stand.user, "/chat", prompt):
        await soon(lambda: stand.held()["tasks"] == 1)
        # Gone, before there is even a row.
    await soon(lambda: stand.held() == IDLE)
    [[status, content]] = stand.rows(
        "SELECT status, content FROM generations JOIN messages ON messages.id = message_id"
        " ORDER BY generations.created_at DESC LIMIT 1"
    )
    assert (status, content) == ("completed", WHOLE)


@contextmanager
def locked(stand: Standing) -> Generator[None]:
    """Nobody else can write to the database meanwhile."""
    file = stand.server.settings.data_dir / "runnel.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


async def test_a_hundred_parallel_streams_do_not_mix(serve: Serve, provider: Provider) -> None:
    server = serve(models=models(provider))
    provider.answer("test", of_its_own)
    users = [server.user(f"user{number}") for number in range(4)]
    responses = await asyncio.gather(
        *(
            raw_stream(server, users[number % 4], f"n{number}", ("text", "events")[number % 2])
            for number in range(100)
        )
    )
    async with server.client() as client:
        for number, (generation_id, body) in enumerate(responses):
            expected = text_for(f"n{number}")
            if number % 2:
                assert text_of(parsed_events(body)) == expected
            else:
                assert simplest_text(body) == expected
            url = f"/api/generations/{generation_id}"
            owner, stranger = users[number % 4], users[(number + 1) % 4]
            assert_whole((await client.get(url, headers=owner.headers)).json(), expected)
            assert (await client.get(url, headers=stranger.headers)).status_code == 404


def models(provider: Provider) -> Json:
    alias = {"provider": "openai", "model": "test", "base_url": provider.url}
    return {"aliases": {"chat/test": alias}}


def of_its_own(ask: Json) -> Answer:
    """An answer that only this question gets."""
    name = ask["messages"][-1]["content"]
    return Answer([f"{name}:{part} " for part in range(10)], delay=0.001)


def text_for(name: str) -> str:
    return "".join(f"{name}:{part} " for part in range(10))


def request_of(user: Signed, path: str, prompt: str, form: str = "text") -> bytes:
    content = f'{{"prompt": "{prompt}", "format": "{form}"}}'.encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Authorization: Bearer {user.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def raw_stream(
    server: LiveServer, user: Signed, prompt: str, form: str = "text"
) -> tuple[str, bytes]:
    """Asks over a connection of its own, by means that cost little; generation id and body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(server.url).port)
    writer.write(request_of(user, GENERATE, prompt, form))
    head, body = dechunked(await reader.read())
    writer.close()
    await writer.wait_closed()
    assert head.startswith(b"HTTP/1.1 200"), head
    generation_id = head.lower().split(b"x-generation-id: ")[1].split(b"\r\n")[0]
    return generation_id.decode(), body


@pytest.fixture
def many_files() -> Iterator[None]:
    """Each stream takes four file descriptors: this process holds all the ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = STREAMS * 6
    assert hard == resource.RLIM_INFINITY or hard >= wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
async def test_five_hundred_streams_at_once_are_whole_with_a_pool_of_five(
    migrated: Path, tmp_path: Path
) -> None:
    with standing(migrated, tmp_path, database_pool_size=5) as there:
        there.provider.answer(
            "test", lambda ask: Answer(["a", ask["messages"][-1]["content"], "z"], gate_after=1)
        )
        streams = [
            asyncio.create_task(raw_stream(there.server, there.user, f"n{number}"))
            for number in range(STREAMS)
        ]
        await asyncio.to_thread(there.provider.at_gate.wait_at_least, STREAMS, 30)
        there.provider.release()
        for number, (_, body) in enumerate(await asyncio.gather(*streams)):
            assert simplest_text(body) == f"an{number}z"
        await assert_idle(there)
        counts = "SELECT status, count(*) FROM generations GROUP BY status"
        assert there.rows(counts) == [("completed", STREAMS)]


async def test_a_reader_that_stalls_costs_only_itself_and_is_closed_without_an_end(
    migrated: Path, tmp_path: Path
) -> None:
    large = "x" * 100_000
    answer = Answer([large] * 40)
    with standing(migrated, tmp_path, send_timeout_seconds=0.3) as there:
        with asking(there.server, there.user, GENERATE, there.prompt(answer)) as stalling:
            async with there.server.client(there.user) as client:
                # Others are answered meanwhile.
                answers = await asyncio.gather(
                    *(client.post("/chat", json={"message": there.prompt(answer)}) for _ in "123")
                )
            assert [answer.json()["text"] for answer in answers] == [large * 40] * 3
            await assert_idle(there)  # the stalled one's reader too: it was closed
            await assert_hung_up(there)
            received = what_had_come(stalling)
        assert there.rows("SELECT DISTINCT status FROM generations") == [("completed",)]
    assert b"[DONE]" not in received
    assert not received.endswith(b"0\r\n\r\n")


async def test_who_leaves_while_nothing_can_be_sent_to_it_is_let_go(
    migrated: Path, tmp_path: Path
) -> None:
    answer = Answer(["x" * 1_000_000] * 12, gate_after=12)
    with standing(
        migrated, tmp_path, send_timeout_seconds=3600, generation_max_bytes=2**26
    ) as there:
        with asking(there.server, there.user, GENERATE, there.prompt(answer)):
            await asyncio.to_thread(there.provider.at_gate.wait_at_least, 1)
            assert there.held()["readers"] == 1
        await soon(lambda: there.held()["readers"] == 0)
        there.provider.release()
        await assert_idle(there)
        await assert_hung_up(there)
        assert there.rows("SELECT DISTINCT status FROM generations") == [("completed",)]


async def assert_hung_up(stand: Standing) -> None:
    """No client is connected, or will not be in a moment: not even one that reads nothing."""
    for _ in range(POLLS):
        if stand.server.connections == 0:
            return
        await asyncio.sleep(POLL_SECONDS)
    assert stand.server.connections == 0


def what_had_come(connection: socket.socket) -> bytes:
    """What a connection that was cut off still gives."""
    received = b""
    with suppress(ConnectionResetError):
        while piece := connection.recv(1 << 20):
            received += piece
    return received


def asking(server: LiveServer, user: Signed, path: str, prompt: str) -> socket.socket:
    """A connection that has asked, and that nobody reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", httpx.URL(server.url).port))
    connection.sendall(request_of(user, path, prompt))
    connection.settimeout(10)
    return connection
