"""When a provider is asked again: rarely, later each time, never all at once."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runnel.chat.retrying import Retries

MANY = 200


def pauses(number: int, *, elapsed: float = 0.0, retry_after: float | None = None) -> list[float]:
    """The pauses that many askers are given before the same try."""
    retries = Retries(10, 1000)
    found = [retries.pause(number, elapsed=elapsed, retry_after=retry_after) for _ in range(MANY)]
    return [pause for pause in found if pause is not None]


def test_each_pause_is_about_twice_the_one_before() -> None:
    means = [sum(pauses(number)) / MANY for number in range(1, 6)]
    for before, after in pairwise(means):
        assert 1.6 < after / before < 2.5
    assert 0.2 < means[0] < 0.3


@pytest.mark.parametrize("retry_after", [None, 0.0, 1.0])
def test_those_who_were_refused_together_do_not_come_back_together(
    retry_after: float | None,
) -> None:
    found = sorted(pauses(2, retry_after=retry_after))
    least = (retry_after or 0) + 0.25
    assert least <= found[0]
    assert found[-1] <= least + 0.5
    assert found[-1] - found[0] > 0.25
    assert len(set(found)) > MANY / 2


@settings(deadline=None)
@given(
    number=st.integers(1, 12),
    most=st.integers(0, 10),
    within=st.floats(0.001, 1000),
    elapsed=st.floats(0, 1000),
    retry_after=st.none() | st.floats(0, 86_400),
)
def test_a_pause_is_never_shorter_than_asked_for_nor_longer_than_there_is_time(
    number: int, most: int, within: float, elapsed: float, retry_after: float | None
) -> None:
    pause = Retries(most, within).pause(number, elapsed=elapsed, retry_after=retry_after)
    if pause is None:
        return
    assert number <= most
    assert elapsed + pause <= within
    assert pause > (retry_after or 0)


def test_none_is_left_when_tries_or_time_are_used_up() -> None:
    assert Retries(0, 1000).pause(1, elapsed=0, retry_after=None) is None
    assert Retries(2, 1000).pause(2, elapsed=0, retry_after=None) is not None
    assert Retries(2, 1000).pause(3, elapsed=0, retry_after=None) is None
    assert Retries(2, 4).pause(1, elapsed=4, retry_after=None) is None
    assert Retries(2, 4).pause(1, elapsed=0, retry_after=4) is None
    assert Retries(2, 4).pause(1, elapsed=0, retry_after=86_400) is None
