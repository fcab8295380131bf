"""Tickets: signed leave to read one generation, while it lasts and its login holds."""

import pytest
from stand_ins import PASSWORD, SECRET, StandingClock, fails, is_refused, signed_in

from runnel.accounts.administration import Administration
from runnel.accounts.entities import Identity, User
from runnel.accounts.logins import Logins
from runnel.accounts.service import Accounts
from runnel.accounts.tickets import Tickets
from runnel.accounts.tokens import Tokens, refused
from runnel.control.memory import MemorySpent
from runnel.errors import Code

SECONDS = 600
MINE = "a generation of Ada's"


@pytest.fixture
def tickets(accounts: Accounts, tokens: Tokens, clock: StandingClock) -> Tickets:
    return Tickets(accounts, tokens, MemorySpent(), seconds=SECONDS, clock=clock)


@pytest.fixture
def open_tickets(open_accounts: Accounts, tokens: Tokens, clock: StandingClock) -> Tickets:
    """Where guests are let in."""
    return Tickets(open_accounts, tokens, MemorySpent(), seconds=SECONDS, clock=clock)


@pytest.fixture
async def identity(accounts: Accounts, ada: User) -> Identity:
    return await signed_in(accounts, ada.username)


async def is_no_ticket(tickets: Tickets, ticket: str, generation_id: str = MINE) -> bool:
    message = await fails(tickets.redeem(ticket, generation_id), Code.UNAUTHORIZED)
    return message == refused().message


class TestTicket:
    async def test_it_lets_in_who_asked_for_it_as_often_as_wanted(
        self, tickets: Tickets, identity: Identity
    ) -> None:
        ticket = tickets.issue(identity, MINE)
        for _ in range(3):
            assert await tickets.redeem(ticket, MINE) == identity

    async def test_it_is_good_up_to_its_last_second(
        self, tickets: Tickets, identity: Identity, clock: StandingClock
    ) -> None:
        ticket = tickets.issue(identity, MINE)
        clock.advance(SECONDS - 1)
        assert await tickets.redeem(ticket, MINE) == identity
        clock.advance(1)
        assert await is_no_ticket(tickets, ticket)

    async def test_to_use_it_does_not_prolong_it(
        self, tickets: Tickets, identity: Identity, clock: StandingClock
    ) -> None:
        ticket = tickets.issue(identity, MINE)
        for _ in range(3):
            clock.advance(SECONDS / 3 - 1)
            await tickets.redeem(ticket, MINE)
        clock.advance(3)
        assert await is_no_ticket(tickets, ticket)

    async def test_it_is_for_one_generation(self, tickets: Tickets, identity: Identity) -> None:
        ticket = tickets.issue(identity, MINE)
        for other in ("another", "", MINE.upper(), f"{MINE} ", "*"):
            assert await is_no_ticket(tickets, ticket, other)

    async def test_no_two_are_the_same(self, tickets: Tickets, identity: Identity) -> None:
        assert tickets.issue(identity, MINE) != tickets.issue(identity, MINE)

    async def test_it_is_no_other_token(
        self, tickets: Tickets, accounts: Accounts, identity: Identity
    ) -> None:
        ticket = tickets.issue(identity, MINE)
        assert await is_refused(accounts, ticket)
        await fails(accounts.refresh(ticket), Code.UNAUTHORIZED)

    async def test_no_other_token_is_one(
        self, tickets: Tickets, accounts: Accounts, identity: Identity
    ) -> None:
        pair = await accounts.login("Ada", PASSWORD)
        _, key = await accounts.create_key(identity, "key")
        for credential in (pair.access_token, pair.refresh_token, key, "", "a.b.c"):
            assert await is_no_ticket(tickets, credential)

    async def test_one_that_another_server_signed_is_none(
        self, tickets: Tickets, accounts: Accounts, identity: Identity, clock: StandingClock
    ) -> None:
        other = Tokens(f"not {SECRET}", clock=clock)
        foreign = Tickets(accounts, other, MemorySpent(), seconds=SECONDS, clock=clock).issue(
            identity, MINE
        )
        assert await is_no_ticket(tickets, foreign)

    async def test_a_login_and_a_user_that_do_not_belong_together_are_refused(
        self, tickets: Tickets, accounts: Accounts, identity: Identity
    ) -> None:
        await accounts.register("eve", PASSWORD)
        eve = await signed_in(accounts, "eve")
        mixed = Identity(identity.user_id, "Ada", "user", eve.login_id)
        assert await is_no_ticket(tickets, tickets.issue(mixed, MINE))


class TestLogin:
    async def test_a_logout_ends_the_tickets_of_its_login_alone(
        self, tickets: Tickets, accounts: Accounts, identity: Identity
    ) -> None:
        other = await signed_in(accounts)
        ended, staying = tickets.issue(identity, MINE), tickets.issue(other, MINE)
        await accounts.logout(identity)
        assert await is_no_ticket(tickets, ended)
        assert await tickets.redeem(staying, MINE) == other

    async def test_a_new_password_ends_them_all(
        self, tickets: Tickets, accounts: Accounts, identity: Identity
    ) -> None:
        both = [tickets.issue(each, MINE) for each in (identity, await signed_in(accounts))]
        await accounts.change_password(identity, PASSWORD, "another good one")
        assert [await is_no_ticket(tickets, ticket) for ticket in both] == [True, True]

    async def test_a_login_that_has_expired_ends_a_ticket_that_has_not(
        self, accounts: Accounts, tokens: Tokens, identity: Identity, clock: StandingClock
    ) -> None:
        tickets = Tickets(accounts, tokens, MemorySpent(), seconds=365 * 86_400, clock=clock)
        ticket = tickets.issue(identity, MINE)
        clock.advance(30 * 86_400 - 1)
        assert await tickets.redeem(ticket, MINE) == identity
        clock.advance(1)
        assert await is_no_ticket(tickets, ticket)

    async def test_an_access_token_that_has_expired_ends_none(
        self, accounts: Accounts, tokens: Tokens, logins: Logins, clock: StandingClock, ada: User
    ) -> None:
        tickets = Tickets(accounts, tokens, MemorySpent(), seconds=3 * 3600, clock=clock)
        pair = await accounts.login(ada.username, PASSWORD)
        identity = await logins.identify(pair.access_token)
        ticket = tickets.issue(identity, MINE)
        clock.advance(2 * 3600)
        assert await is_refused(accounts, pair.access_token)
        assert await tickets.redeem(ticket, MINE) == identity

    async def test_a_revoked_key_ends_its_tickets_alone(
        self, tickets: Tickets, accounts: Accounts, identity: Identity
    ) -> None:
        key, secret = await accounts.create_key(identity, "key")
        by_key = await accounts.authenticate(secret)
        ended, staying = tickets.issue(by_key, MINE), tickets.issue(identity, MINE)
        assert await tickets.redeem(ended, MINE) == by_key
        await accounts.delete_key(identity, key.id)
        assert await is_no_ticket(tickets, ended)
        assert await tickets.redeem(staying, MINE) == identity

    async def test_a_disabled_user_has_none_nor_gets_them_back_with_the_account(
        self,
        tickets: Tickets,
        accounts: Accounts,
        administration: Administration,
        identity: Identity,
    ) -> None:
        _, secret = await accounts.create_key(identity, "key")
        by_login = tickets.issue(identity, MINE)
        by_key = tickets.issue(await accounts.authenticate(secret), MINE)
        await administration.disable("Ada")
        assert await is_no_ticket(tickets, by_login)
        assert await is_no_ticket(tickets, by_key)
        await administration.enable("Ada")
        assert await is_no_ticket(tickets, by_login)  # its login was revoked; the key was not
        assert (await tickets.redeem(by_key, MINE)).user_id == identity.user_id

    async def test_a_deleted_user_has_none(
        self, tickets: Tickets, accounts: Accounts, identity: Identity
    ) -> None:
        ticket = tickets.issue(identity, MINE)
        await accounts.delete(identity.user_id)
        assert await is_no_ticket(tickets, ticket)


class TestGuest:
    async def test_a_guest_reads_with_one(
        self, open_tickets: Tickets, open_accounts: Accounts
    ) -> None:
        guest = await open_accounts.authenticate(None)
        assert await open_tickets.redeem(open_tickets.issue(guest, MINE), MINE) == guest

    async def test_it_ends_when_guests_are_not_let_in_any_more(
        self, tickets: Tickets, open_accounts: Accounts
    ) -> None:
        guest = await open_accounts.authenticate(None)
        await fails(tickets.redeem(tickets.issue(guest, MINE), MINE), Code.UNAUTHORIZED)

    async def test_it_ends_when_the_guest_is_disabled(
        self, open_tickets: Tickets, open_accounts: Accounts, administration: Administration
    ) -> None:
        ticket = open_tickets.issue(await open_accounts.authenticate(None), MINE)
        await administration.disable("guest")
        assert await is_no_ticket(open_tickets, ticket)

    async def test_a_users_ticket_is_checked_where_guests_are_let_in_too(
        self, open_tickets: Tickets, accounts: Accounts, identity: Identity
    ) -> None:
        ticket = open_tickets.issue(identity, MINE)
        assert await open_tickets.redeem(ticket, MINE) == identity
        await accounts.logout(identity)
        assert await is_no_ticket(open_tickets, ticket)

    async def test_a_ticket_without_a_login_is_the_guests_alone(
        self, open_tickets: Tickets, open_accounts: Accounts, identity: Identity
    ) -> None:
        await open_accounts.authenticate(None)
        forged = Identity(identity.user_id, "Ada", "user", None)
        assert await is_no_ticket(open_tickets, open_tickets.issue(forged, MINE))
