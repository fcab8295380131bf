"""What is kept of the program behind a connection has bounds, whoever it claims to be."""

from starlette.requests import HTTPConnection

from runnel.chat.sessions.values import NOBODY_KNOWN, ClientInfo
from runnel.edge.clients import client_of


def connection(client: tuple[str, int] | None, *headers: tuple[bytes, bytes]) -> HTTPConnection:
    return HTTPConnection({"type": "http", "client": client, "headers": headers})


def test_what_a_client_tells_is_cut_and_cleaned() -> None:
    long = "x" * 1000
    headers = [(b"user-agent", long.encode()), (b"x-client-version", long.encode())]
    told = client_of(connection(("\0" + long, 1), *headers))
    assert told == ClientInfo("x" * 256, "\ufffd" + "x" * 63, "x" * 64)


def test_who_tells_nothing_is_nobody_known() -> None:
    assert client_of(connection(None)) == NOBODY_KNOWN
