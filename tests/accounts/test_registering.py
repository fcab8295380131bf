"""Who may register, under which names and with which passwords."""

import asyncio

import pytest
from stand_ins import (
    PASSWORD,
    StandingClock,
    fails,
    signed_in,
)

from runnel.accounts.entities import User
from runnel.accounts.service import Accounts
from runnel.errors import Code


class TestRegistration:
    async def test_a_registered_user_logs_in_in_whatever_case(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        identity = await signed_in(accounts, "aDA")
        assert (identity.user_id, identity.username, identity.role) == (ada.id, "Ada", "user")
        assert identity.login_id
        assert not identity.guest
        assert await accounts.me(identity) == User(ada.id, "Ada", "user", clock.now, None)

    async def test_a_closed_registration_says_so(self, open_accounts: Accounts) -> None:
        await fails(open_accounts.register("ada", PASSWORD), Code.FORBIDDEN)

    async def test_a_name_is_taken_in_whatever_case(self, accounts: Accounts, ada: User) -> None:
        await fails(accounts.register("ADA", PASSWORD), Code.CONFLICT, "username")
        assert ada.username == "Ada"

    @pytest.mark.parametrize(
        "username",
        [
            "",
            "x" * 65,
            "two words",
            "tab\t",
            "line\n",
            "nul\0",
            "\ud800",
            "ïda",
            "a/b",
            "me",
            "ME",
            "guest",
            "Guest",
            "0196a3f0-7c11-7a2b-9d3c-0123456789AB",
        ],
    )
    async def test_an_unfit_name_is_refused(self, accounts: Accounts, username: str) -> None:
        await fails(accounts.register(username, PASSWORD), Code.INVALID_REQUEST, "username")

    @pytest.mark.parametrize("username", ["a", "x" * 64, "Ada.L_1@example.org", "-+-"])
    async def test_a_fit_name_is_taken(self, accounts: Accounts, username: str) -> None:
        assert (await accounts.register(username, PASSWORD)).username == username

    async def test_a_weak_password_is_refused_with_the_reason(self, accounts: Accounts) -> None:
        message = await fails(
            accounts.register("ada", "password"), Code.INVALID_REQUEST, "password"
        )
        assert message == "The password is one of the commonest there are."

    async def test_of_many_who_want_a_name_at_once_one_gets_it(self, accounts: Accounts) -> None:
        outcomes = await asyncio.gather(
            *(accounts.register(name, PASSWORD) for name in ("ada", "Ada", "ADA", "aDa")),
            return_exceptions=True,
        )
        assert sum(isinstance(outcome, User) for outcome in outcomes) == 1
