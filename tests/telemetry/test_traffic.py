"""Bytes by user: of the last minute, of ever, and of no more users than there is room for."""

from collections import Counter
from collections.abc import Callable

import pytest

from runnel.telemetry.traffic import USER_CLASSES, Traffic, UserClass


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def counted() -> Counter[UserClass]:
    return Counter()


@pytest.fixture
def traffic(clock: Clock, counted: Counter[UserClass]) -> Traffic:
    def counter(kind: UserClass) -> Callable[[int], None]:
        def count(size: int) -> None:
            counted[kind] += size

        return count

    counters: dict[UserClass, Callable[[int], None]] = {
        kind: counter(kind) for kind in USER_CLASSES
    }
    return Traffic(counters, clock=clock, most_users=3)


def shown(traffic: Traffic, most: int = 50) -> list[tuple[str, int, int]]:
    return [(user, sent.last_minute, sent.ever) for user, sent in traffic.users(most)]


def test_what_is_a_minute_old_counts_only_as_ever_sent(traffic: Traffic, clock: Clock) -> None:
    send = traffic.of("ada", "user")
    for size in (1, 2, 4):
        send(size)
        clock.now += 29.5
    # Sent 88.5, 59 and 29.5 seconds ago.
    assert shown(traffic) == [("ada", 6, 7)]
    clock.now += 1
    assert shown(traffic) == [("ada", 4, 7)]
    clock.now += 1000
    assert shown(traffic) == [("ada", 0, 7)]
    assert (traffic.total().last_minute, traffic.total().ever) == (0, 7)


def test_seconds_long_past_are_forgotten(traffic: Traffic, clock: Clock) -> None:
    send = traffic.of("ada", "user")
    for _ in range(500):
        send(1)
        clock.now += 1
    assert len(traffic._users["ada"]._recent) == 60


def test_who_was_sent_most_comes_first(traffic: Traffic, clock: Clock) -> None:
    traffic.of("old", "user")(1000)
    clock.now += 100
    traffic.of("ada", "user")(5)
    traffic.of("bob", "user")(50)
    assert shown(traffic) == [("bob", 50, 50), ("ada", 5, 5), ("old", 0, 1000)]
    assert shown(traffic, most=1) == [("bob", 50, 50)]


def test_who_was_sent_nothing_for_longest_makes_room(
    traffic: Traffic, counted: Counter[UserClass]
) -> None:
    sends = {name: traffic.of(name, "user") for name in ("a", "b", "c", "d")}
    for name in ("a", "b", "c", "a", "d"):
        sends[name](1)
    assert {user for user, _, _ in shown(traffic)} == {"a", "c", "d"}
    sends["b"](1)
    assert {user for user, _, _ in shown(traffic)} == {"a", "d", "b"}
    assert traffic.total().ever == counted["user"] == 6


def test_nobodys_bytes_are_counted_without_a_name(
    traffic: Traffic, counted: Counter[UserClass]
) -> None:
    traffic.of(None, "nobody")(7)
    traffic.of("root", "admin")(3)
    assert shown(traffic) == [("root", 3, 3)]
    assert traffic.total().ever == 10
    assert dict(counted) == {"nobody": 7, "admin": 3}
