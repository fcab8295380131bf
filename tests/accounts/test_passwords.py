"""Passwords: what is weak, what is verified, and what it costs."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from stand_ins import CountingPasswords

from runnel.accounts.passwords import (
    MOST_CHARACTERS,
    MOST_WAITING,
    UNUSABLE,
    Passwords,
    weakness,
)
from runnel.errors import Code, RunnelError


@pytest.fixture(scope="module")
def real() -> Iterator[Passwords]:
    passwords = Passwords()
    yield passwords
    passwords.close()


async def test_hashes_are_argon2id_with_the_parameters_decided(real: Passwords) -> None:
    assert (await real.hash("correct horse")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_nobody_is_compared_with_a_hash_of_the_same_parameters(
    passwords: CountingPasswords,
) -> None:
    somebody = await passwords.hash("correct horse")
    await passwords.verify(None, "correct horse")
    await passwords.verify(somebody, "correct horse")
    nobody, verified = passwords.verified
    assert verified == somebody
    assert nobody.split("$")[:4] == somebody.split("$")[:4]
    assert nobody != somebody


@pytest.mark.parametrize(
    "password",
    ["correct horse", " leading and trailing ", "nul\0inside", "lone \ud800 surrogate", "é" * 1024],
)
async def test_only_the_password_itself_is_verified(real: Passwords, password: str) -> None:
    password_hash = await real.hash(password)
    assert await real.verify(password_hash, password)
    assert not await real.verify(password_hash, password[:-1])
    assert not await real.verify(password_hash, password + "x")


@pytest.mark.parametrize("password_hash", [None, "", UNUSABLE])
async def test_without_a_hash_nothing_is_verified(
    real: Passwords, password_hash: str | None
) -> None:
    assert not await real.verify(password_hash, "correct horse")
    assert not await real.verify(password_hash, UNUSABLE)


async def test_a_password_beyond_the_bound_is_not_hashed(passwords: CountingPasswords) -> None:
    too_long = "x" * (MOST_CHARACTERS + 1)
    password_hash = await passwords.hash(too_long[1:])
    assert not await passwords.verify(password_hash, too_long)
    with pytest.raises(RunnelError) as caught:
        await passwords.hash(too_long)
    assert caught.value.code is Code.INVALID_REQUEST
    assert too_long not in str(caught.value)
    assert passwords.worked == 1


async def test_hashing_leaves_the_event_loop_alone(passwords: CountingPasswords) -> None:
    await passwords.verify(await passwords.hash("correct horse"), "correct horse")
    assert passwords.worked == 2
    assert threading.main_thread() not in passwords.threads


@pytest.mark.parametrize(
    ("username", "password", "why"),
    [
        ("ada", "seven77", "has fewer than 8 characters"),
        ("ada", "", "has fewer than 8 characters"),
        ("ada", "x" * 1025, "has more than 1024 characters"),
        ("ada.lovelace", "Ada.Lovelace", "is the username"),
        ("ada", "PassWord", "is one of the commonest there are"),
        ("ada", "eight888", None),
        ("ada", "x" * 1024, None),
    ],
)
def test_weakness_says_why(username: str, password: str, why: str | None) -> None:
    assert weakness(username, password) == why


def test_importing_and_hashing_warn_of_nothing() -> None:
    work = (
        "from runnel.accounts.passwords import Passwords\n"
        "import asyncio\n"
        "async def main():\n"
        "    passwords = Passwords(memory_kib=16)\n"
        "    assert await passwords.verify(await passwords.hash('secret'), 'secret')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", work], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_crowd_is_refused_instead_of_left_waiting() -> None:
    few = Passwords(memory_kib=64, passes=1)
    try:
        tries = (few.verify(None, "x") for _ in range(MOST_WAITING + 20))
        results = await asyncio.gather(*tries, return_exceptions=True)
        refused = [result for result in results if isinstance(result, RunnelError)]
        assert len(refused) == 20
        assert {error.code for error in refused} == {Code.OVERLOADED}
        assert await few.verify(None, "x") is False
    finally:
        few.close()
