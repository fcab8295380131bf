"""The network that breaks, itself."""

import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from cutting import Cutting
from provider import Answer, Provider

MODELS = "/v1/models"


@pytest.fixture
def between(provider: Provider) -> Iterator[Cutting]:
    with Cutting(provider.url) as proxy:
        yield proxy


def received(proxy: Cutting, method: str) -> tuple[bytes, bool]:
    """All that comes in answer to a request on a connection of its own; was it reset?"""
    parts = urlsplit(proxy.url)
    request = f"{method} {MODELS} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as connected:
        connected.sendall(request.encode())
        data = b""
        try:
            while more := connected.recv(65_536):
                data += more
        except ConnectionResetError:
            return data, True
    return data, False


def test_what_is_not_to_be_cut_passes_unchanged(provider: Provider, between: Cutting) -> None:
    with httpx.Client() as http:
        url = f"{between.url}{MODELS}?a=b"
        through = [http.get(url, headers={"Last-Event-ID": f"1-{n}"}) for n in range(3)]
        direct = http.get(f"{provider.url}/models")
    assert {response.content for response in through} == {direct.content}
    heads = between.asked(MODELS)
    assert [head.headers["last-event-id"] for head in heads] == ["1-0", "1-1", "1-2"]
    assert {head.query for head in heads} == {"a=b"}
    between.open_connections.wait_at_most(0)
    assert (between.connections.value, between.cuts.value) == (1, 0)


@pytest.mark.parametrize("amount", [0, 1, 17, 80])
def test_a_response_is_reset_after_exactly_so_many_bytes(between: Cutting, amount: int) -> None:
    whole, was_reset = received(between, "GET")
    assert not was_reset
    between.cut_after(None, amount)
    assert received(between, "GET") == (whole, False)
    assert received(between, "OPTIONS") == (whole, False)  # a preflight takes no amount
    assert received(between, "GET") == (whole[:amount], True)
    assert received(between, "GET") == (whole, False)
    between.cuts.wait_at_least(1)
    assert between.cuts.value == 1


def test_what_is_open_is_cut_at_once_on_both_sides(provider: Provider, between: Cutting) -> None:
    provider.answer("test", Answer(["Hello", " world"], gate_after=1))
    body: dict[str, Any] = {"model": "test", "stream": True, "messages": []}
    with (
        httpx.Client() as http,
        http.stream("POST", f"{between.url}/v1/chat/completions", json=body) as response,
    ):
        lines = response.iter_lines()
        while "Hello" not in next(lines):
            pass
        assert between.cut_now() == 1
        with pytest.raises(httpx.ReadError):
            list(lines)
    provider.client_left.wait_at_least(1)
    between.open_connections.wait_at_most(0)


def test_a_server_that_is_away_is_a_connection_that_closes(provider: Provider) -> None:
    with Cutting(provider.refused_url()) as between:
        with httpx.Client() as http, pytest.raises(httpx.TransportError):
            http.get(between.url)
        between.open_connections.wait_at_most(0)
