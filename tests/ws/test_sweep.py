"""The sweep and the end of all sockets, as the sockets themselves are told of it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from runnel.edge.sockets import CloseCode, SocketBounds, Sockets

BOUNDS = SocketBounds(most=2, auth_seconds=15, silent_seconds=300, send_seconds=30)
NOW = 1000.0


@dataclass(eq=False)
class Told:
    """Implements edge.sockets.OpenSocket: keeps what it is told, and may leave then."""

    unauthorized_since: float | None = None
    silent_since: float | None = None
    stalled_since: float | None = None
    leaves: ExitStack = field(default_factory=ExitStack)
    told: list[CloseCode | None] = field(default_factory=list[CloseCode | None])

    def end(self, code: CloseCode, reason: str) -> None:
        assert reason
        self.told.append(code)
        self.leaves.close()

    def cut(self) -> None:
        self.told.append(None)
        self.leaves.close()


@pytest.fixture
def sockets() -> Sockets:
    return Sockets(BOUNDS)


@pytest.mark.parametrize(
    ("since", "seconds", "code"),
    [
        ("unauthorized_since", 15, CloseCode.UNAUTHORIZED),
        ("silent_since", 300, CloseCode.SILENT),
        ("stalled_since", 30, None),
    ],
)
def test_a_bound_is_passed_after_so_many_seconds(
    sockets: Sockets, since: str, seconds: float, code: CloseCode | None
) -> None:
    one, other = Told(), Told()
    setattr(one, since, NOW)
    with sockets.opened(one), sockets.opened(other):
        sockets.sweep(NOW)
        sockets.sweep(NOW + seconds)
        assert one.told == []
        sockets.sweep(NOW + seconds + 0.1)
        assert one.told == [code]
    assert other.told == []
    sockets.sweep(NOW + 10_000)
    assert one.told == [code]


def test_one_that_takes_nothing_is_cut_whatever_else_it_is(sockets: Sockets) -> None:
    one = Told(unauthorized_since=NOW, silent_since=NOW, stalled_since=NOW)
    with sockets.opened(one):
        sockets.sweep(NOW + 301)
    assert one.told == [None]


def test_the_places_of_those_who_wait_are_not_of_those_who_signed_in(sockets: Sockets) -> None:
    with ExitStack() as stack:
        for n, expected in enumerate((True, True, False, False)):
            assert stack.enter_context(sockets.waiting_place(str(n))) is expected
            assert stack.enter_context(sockets.place()) is expected
        with pytest.raises(ZeroDivisionError), sockets.place():
            raise ZeroDivisionError
    assert (sockets._taken, sockets._waiting) == (0, {})


def test_of_those_who_wait_a_quarter_may_be_of_one_address() -> None:
    sockets = Sockets(SocketBounds(8, 15, 300, 30))
    with ExitStack() as stack:
        for expected in (True, True, False):
            assert stack.enter_context(sockets.waiting_place("here")) is expected
        assert stack.enter_context(sockets.waiting_place("there"))
    assert sockets._waiting == {}


@pytest.fixture
def open_ones(sockets: Sockets) -> Iterator[dict[str, Told]]:
    """One of each, which leave when they are told to."""
    ones = {
        "idle": Told(silent_since=NOW),
        "waiting": Told(unauthorized_since=NOW),
        "busy": Told(),
    }
    for one in ones.values():
        one.leaves.enter_context(sockets.opened(one))
    yield ones
    for one in ones.values():
        one.leaves.close()


def test_who_is_told_nothing_ends_as_soon_as_the_server_is_to_end(
    sockets: Sockets, open_ones: dict[str, Told]
) -> None:
    assert not sockets.closing
    sockets.begin_closing()
    assert sockets.closing
    assert open_ones["idle"].told == open_ones["waiting"].told == [CloseCode.RESTARTING]
    assert open_ones["busy"].told == []
    assert len(sockets) == 1


async def test_the_end_waits_for_those_that_are_being_told_something(
    sockets: Sockets, open_ones: dict[str, Told]
) -> None:
    closing = asyncio.create_task(sockets.close())
    await asyncio.sleep(0)
    busy = open_ones["busy"]
    assert (busy.told, closing.done()) == ([], False)
    busy.leaves.close()
    await closing
    assert busy.told == []


async def test_but_not_for_long(
    sockets: Sockets, open_ones: dict[str, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runnel.edge.sockets._FLUSH_SECONDS", 0.05)
    began = time.monotonic()
    await sockets.close()
    assert open_ones["busy"].told == [CloseCode.RESTARTING]
    assert time.monotonic() - began < 2
