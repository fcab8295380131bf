"""The relay does what its tests rely on."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fault_relay import FaultRelay
from waiting import until


@pytest.fixture
def relay() -> Iterator[FaultRelay]:
    """One before what says again whatever it hears."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while heard := connection.recv(1024):
                connection.sendall(heard)

    def listen() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=listen, daemon=True).start()
    with FaultRelay(listening.getsockname()[1]) as between:
        yield between
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def connected(relay: FaultRelay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=5)


def said(connection: socket.socket, what: bytes = b"hello") -> bytes:
    connection.sendall(what)
    return connection.recv(1024)


def test_it_passes_on(relay: FaultRelay) -> None:
    with connected(relay) as client:
        assert said(client) == b"hello"
        assert relay.connections == 1
    until(lambda: relay.connections == 0)


def test_cut_resets_what_there_is_and_takes_what_comes(relay: FaultRelay) -> None:
    with connected(relay) as client:
        assert said(client) == b"hello"
        relay.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(1024)
    with connected(relay) as client:
        assert said(client) == b"hello"


def test_refuse_takes_nobody_until_heal(relay: FaultRelay) -> None:
    with connected(relay) as client:
        assert said(client) == b"hello"
        relay.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1024)
    with pytest.raises(ConnectionRefusedError):
        connected(relay)
    relay.heal()
    with connected(relay) as client:
        assert said(client) == b"hello"


def test_stall_lets_nothing_through_until_heal(relay: FaultRelay) -> None:
    with connected(relay) as client, connected(relay) as other:
        assert said(client) == b"hello"
        relay.stall()
        for each in (client, other):
            each.sendall(b"again")
            each.settimeout(0.2)
            with pytest.raises(TimeoutError):
                each.recv(1024)
            each.settimeout(5)
        relay.heal()
        assert client.recv(1024) == b"again"
        assert other.recv(1024) == b"again"


def test_delay_holds_each_way_back(relay: FaultRelay) -> None:
    with connected(relay) as client:
        assert said(client) == b"hello"
        relay.delay(0.1)
        began = time.monotonic()
        assert said(client) == b"hello"
        assert time.monotonic() - began >= 0.2
