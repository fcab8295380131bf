"""Whatever dies, freezes, forgets or is cut off: who comes back ends with the stored text.

Three instances behind nginx, a Redis and a Postgres of the module's own. `make test-long` runs 50
rounds of each fault; RUNNEL_TEST_SEED and `-k` repeat one.
"""

import os
import random
from collections.abc import Iterator
from typing import Final

import pytest

from chaos_house import FAULTS, House, chaos_house
from chaos_round import Round
from cuts import SEED, counts, say

ROUNDS: Final = int(os.environ.get("RUNNEL_CHAOS") or 3)
#: Of answers that are continued, and of two faults at once.
FEWER: Final = (ROUNDS + 2) // 3
_ROUNDS: Final = {fault: FEWER if fault == "two at once" else ROUNDS for fault in FAULTS}
pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with chaos_house(tmp_path_factory.mktemp("chaos"), SEED) as made:
        yield made


@pytest.fixture(scope="module")
def continuing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with chaos_house(tmp_path_factory.mktemp("chaos"), SEED, takeover="continue") as made:
        yield made


@pytest.mark.parametrize(
    ("fault", "number"), [(fault, number) for fault in FAULTS for number in range(_ROUNDS[fault])]
)
async def test_who_comes_back_ends_with_what_is_stored(
    house: House, fault: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    await one_round(house, fault, number)
    if number == _ROUNDS[fault] - 1:
        report(house, fault, capsys)


@pytest.mark.parametrize("number", range(FEWER))
@pytest.mark.parametrize("fault", ["kill of who makes", "freeze", "older file", "partition"])
async def test_so_does_who_is_told_what_another_goes_on_with(
    continuing: House, fault: str, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    await one_round(continuing, fault, number)
    if number == FEWER - 1:
        report(continuing, f"continuing, {fault}", capsys)


async def one_round(house: House, fault: str, number: int) -> None:
    choice = random.Random(f"{SEED} {fault} {number}")
    print(f"again with RUNNEL_TEST_SEED={SEED}")  # noqa: T201 - shown with a failure
    await house.heal()
    await Round(house, fault, choice, f"{fault} {number}").run()


def report(house: House, fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What has come of the rounds of one fault."""
    counted = counts(house.tally)
    say(f"{fault}: {counted}; terminal after {house.slowest:.1f} s at most", capsys)
    house.tally.clear()
    house.slowest = 0.0
