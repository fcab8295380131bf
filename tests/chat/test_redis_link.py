"""The connection that the logs have to Redis: whatever comes, or does not, is told to who has asked."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from logs_in_redis import until
from redis.exceptions import AuthenticationError, InvalidResponse, ResponseError

from redis_server import PASSWORD, RedisServer
from runnel.streamlog.redis_link import AWAY, Link, Script

HASTY_SECONDS: Final = 0.3
P = ParamSpec("P")


def on_uvloop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """On the loop that serves; the logs' other tests use the library's own."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        def in_thread() -> None:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(test(*args, **kwargs))

        with ThreadPoolExecutor(1) as thread:
            thread.submit(in_thread).result()

    return run


@asynccontextmanager
async def linked(url: str) -> AsyncGenerator[Link]:
    link = Link(url, timeout_seconds=5)
    try:
        yield link
    finally:
        await link.close()


class Peer:
    """Stands in for Redis: hears commands, and says what a test has it say."""

    def __init__(self) -> None:
        self.connections: list[asyncio.StreamWriter] = []
        self._heard = asyncio.Event()

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        while await reader.read(65536):
            self._heard.set()
        writer.close()

    async def heard(self) -> None:
        await self._heard.wait()
        self._heard.clear()

    def say(self, said: bytes) -> None:
        self.connections[-1].write(said)


@asynccontextmanager
async def standing_in(
    tls: ssl.SSLContext | None = None, *, seconds: float = 5
) -> AsyncGenerator[tuple[Peer, Link]]:
    peer = Peer()
    server = await asyncio.start_server(peer.talk, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    url = f"redis://127.0.0.1:{port}"
    if tls:
        url = f"rediss://127.0.0.1:{port}?ssl_cert_reqs=none"
    link = Link(url, timeout_seconds=seconds)
    try:
        yield peer, link
    finally:
        await link.close()
        server.close()
        for writer in peer.connections:
            writer.close()


def asking(link: Link, *command: str) -> "asyncio.Task[Any]":
    return asyncio.create_task(link.call(*command))


@on_uvloop
async def test_many_calls_at_once_have_each_its_own_answer(redis_url: str) -> None:
    async with linked(redis_url) as link:
        await link.connect()
        calls = [link.call("ECHO", f"{number}") for number in range(500)]
        assert await asyncio.gather(*calls) == [f"{number}".encode() for number in range(500)]


@on_uvloop
async def test_it_signs_in_and_uses_the_database_that_its_address_names(redis_url: str) -> None:
    link = Link(redis_url.removesuffix("/0") + "/3", timeout_seconds=5)
    assert b" db=3 " in await link.call("CLIENT", "INFO")
    await link.close()


@on_uvloop
async def test_a_password_that_is_refused_has_redis_away(redis_url: str) -> None:
    link = Link(redis_url.replace(PASSWORD, "another"), timeout_seconds=5)
    for _ in range(2):
        with pytest.raises(AuthenticationError) as refused:
            await link.call("PING")
        assert isinstance(refused.value, AWAY)
        assert not link.up
    await link.close()


@on_uvloop
async def test_nobody_listens_and_redis_is_away() -> None:
    link = Link("redis://127.0.0.1:1", timeout_seconds=5)
    with pytest.raises(AWAY):
        await link.call("PING")
    await link.close()


@on_uvloop
async def test_what_is_large_travels_whole_both_ways(redis_url: str) -> None:
    async with linked(redis_url) as link:
        large = bytes(range(256)) * 40_000  # 10 MB
        calls = [link.call("ECHO", large), link.call("ECHO", "small"), link.call("ECHO", large)]
        assert await asyncio.gather(*calls) == [large, b"small", large]


@on_uvloop
async def test_an_error_is_for_who_has_asked_and_nobody_else(redis_url: str) -> None:
    async with linked(redis_url) as link:
        await link.connect()
        wrong, right = asking(link, "NONSENSE"), asking(link, "ECHO", "a")
        with pytest.raises(ResponseError):
            await wrong
        assert await right == b"a"
        assert link.up


@on_uvloop
async def test_a_script_that_redis_has_forgotten_is_told_again(
    own_redis: RedisServer,
) -> None:
    link = Link(own_redis.url, timeout_seconds=5)
    script, keys = Script("look"), ("log", "meta")
    for forget in (("SCRIPT", "FLUSH"), ("PING",), ("SCRIPT", "FLUSH")):
        await asyncio.to_thread(own_redis.call, *forget)
        assert await link.run(script, keys, "", "", "", 1000) == []
    await asyncio.to_thread(own_redis.stop)
    await asyncio.to_thread(own_redis.start)
    assert not link.up  # which shows though nobody has asked
    assert await link.run(script, keys, "", "", "", 1000) == []
    await link.close()


@on_uvloop
async def test_the_answer_for_who_has_gone_is_nobody_s(redis_url: str) -> None:
    async with linked(redis_url) as link:
        await link.connect()
        gone = asking(link, "BLPOP", "nothing comes", "0.2")
        await asyncio.sleep(0)  # it is sent
        gone.cancel()
        assert await link.call("ECHO", "a") == b"a"
        assert gone.cancelled()


@on_uvloop
async def test_an_answer_may_come_byte_by_byte() -> None:
    async with standing_in() as (peer, link):
        call = asking(link, "ANY")
        await peer.heard()
        for number in b"*3\r\n:1\r\n$5\r\na\r\nbc\r\n$-1\r\n":
            peer.say(bytes([number]))
            await asyncio.sleep(0.001)
        assert await call == [1, b"a\r\nbc", None]


@on_uvloop
async def test_a_connection_that_ends_within_an_answer_fails_all_that_wait() -> None:
    async with standing_in() as (peer, link):
        await link.connect()
        calls = [asking(link, "ANY") for _ in range(3)]
        await peer.heard()
        peer.say(b"+first\r\n*2\r\n:1")
        assert await calls[0] == b"first"
        peer.connections[-1].close()
        for call in calls[1:]:
            with pytest.raises(AWAY):
                await call
        assert not link.up
        again = asking(link, "ANY")
        await peer.heard()
        peer.say(b"+again\r\n")
        assert await again == b"again"


@pytest.mark.parametrize("said", [b"rubbish\r\n", b"+one\r\n+one too many\r\n"])
@on_uvloop
async def test_what_is_no_answer_ends_the_connection(said: bytes) -> None:
    async with standing_in() as (peer, link):
        first = asking(link, "ANY")
        await peer.heard()
        peer.say(said)
        if said.startswith(b"+"):
            assert await first == b"one"
        else:
            with pytest.raises(InvalidResponse):
                await first
        assert not link.up


@on_uvloop
async def test_who_is_not_answered_in_time_hears_so_and_all_behind_it() -> None:
    async with standing_in(seconds=HASTY_SECONDS) as (peer, link):
        await link.connect()
        calls = [asking(link, "ANY") for _ in range(3)]
        await peer.heard()
        peer.say(b"+first\r\n")
        assert await calls[0] == b"first"
        for call in calls[1:]:
            with pytest.raises(TimeoutError):
                await call
        assert not link.up


@on_uvloop
async def test_a_call_that_may_take_longer_has_its_time() -> None:
    async with standing_in(seconds=HASTY_SECONDS) as (peer, link):
        patient = asyncio.create_task(link.call("ANY", patience_seconds=60))
        await peer.heard()
        await asyncio.sleep(HASTY_SECONDS * 1.5)
        peer.say(b"+late\r\n")
        assert await patient == b"late"
        with pytest.raises(TimeoutError):
            await link.call("ANY")


@on_uvloop
async def test_a_link_that_is_closed_fails_what_is_under_way() -> None:
    async with standing_in() as (peer, link):
        call = asking(link, "ANY")
        await peer.heard()
        await link.close()
        with pytest.raises(AWAY):
            await call


@on_uvloop
async def test_a_socket_of_the_file_system_will_do(tmp_path: Path) -> None:
    peer = Peer()
    place = tmp_path / "redis"
    server = await asyncio.start_unix_server(peer.talk, place)
    link = Link(f"unix://{place}", timeout_seconds=5)
    call = asking(link, "ANY")
    await peer.heard()
    peer.say(b"+here\r\n")
    assert await call == b"here"
    await link.close()
    server.close()


@on_uvloop
async def test_tls_will_do(tmp_path: Path) -> None:
    async with standing_in(certified(tmp_path)) as (peer, link):
        call = asking(link, "ANY")
        await peer.heard()
        peer.say(b"+secret\r\n")
        assert await call == b"secret"
        peer.connections[-1].close()
        await until(lambda: not link.up)


def certified(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    (folder / "both").write_bytes(
        key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(encoding)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both")
    return context
