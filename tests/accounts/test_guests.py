"""Who comes without credentials is one guest, who may change nothing."""

import asyncio

from stand_ins import (
    PASSWORD,
    fails,
    is_refused,
)

from runnel.accounts.administration import Administration
from runnel.accounts.entities import User
from runnel.accounts.service import Accounts
from runnel.errors import Code


class TestGuest:
    async def test_all_who_come_at_once_without_credentials_are_one_guest(
        self, open_accounts: Accounts
    ) -> None:
        guests = await asyncio.gather(*(open_accounts.authenticate(None) for _ in range(10)))
        assert len(set(guests)) == 1
        guest = guests[0]
        assert (guest.username, guest.role, guest.login_id, guest.guest) == (
            "guest", "user", None, True
        )  # fmt: skip

    async def test_a_guest_may_change_nothing(self, open_accounts: Accounts) -> None:
        guest = await open_accounts.authenticate(None)
        await fails(open_accounts.create_key(guest, "key"), Code.FORBIDDEN)
        await fails(open_accounts.change_password(guest, "", PASSWORD), Code.FORBIDDEN)
        await fails(open_accounts.delete(guest.user_id), Code.FORBIDDEN)
        await fails(open_accounts.logout(guest), Code.CONFLICT)

    async def test_the_command_line_gives_a_guest_neither_password_nor_token(
        self, open_accounts: Accounts, administration: Administration
    ) -> None:
        await open_accounts.authenticate(None)
        await fails(administration.set_password("guest", PASSWORD), Code.FORBIDDEN)
        await fails(administration.issue_token("Guest"), Code.FORBIDDEN)

    async def test_a_disabled_guest_is_refused(
        self, open_accounts: Accounts, administration: Administration
    ) -> None:
        await open_accounts.authenticate(None)
        await administration.disable("guest")
        await fails(open_accounts.authenticate(None), Code.UNAUTHORIZED)

    async def test_credentials_count_where_guests_are_let_in_too(
        self, accounts: Accounts, open_accounts: Accounts, ada: User
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        assert not (await open_accounts.authenticate(pair.access_token)).guest
        assert await is_refused(open_accounts, "wrong")
