"""API keys let in until they are deleted, and only their owners see them."""

import asyncio

import pytest
from sqlalchemy import select
from stand_ins import (
    PASSWORD,
    StandingClock,
    count,
    fails,
    is_refused,
    signed_in,
)

from runnel.accounts.entities import Identity, User
from runnel.accounts.service import MOST_KEYS, Accounts
from runnel.errors import Code, RunnelError
from runnel.store.engine import Database
from runnel.store.tables import ApiKeyRow


class TestKeys:
    async def test_a_key_is_accepted_where_a_token_is(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        identity = await signed_in(accounts)
        key, secret = await accounts.create_key(identity, " nightly job ")
        assert (key.name, key.created_at) == ("nightly job", clock.now)
        assert secret.startswith(key.prefix)
        assert len(key.prefix) < len(secret) / 3
        clock.advance(365 * 86_400)
        assert await accounts.authenticate(secret) == Identity(ada.id, "Ada", "user", key.id)
        assert await accounts.list_keys(identity) == [key]

    async def test_the_text_of_a_key_is_not_stored(
        self, accounts: Accounts, ada: User, database: Database
    ) -> None:
        _, secret = await accounts.create_key(await signed_in(accounts, ada.username), "key")
        async with database.read() as connection:
            row = (await connection.execute(select(ApiKeyRow))).one()
        assert secret not in repr(row)
        assert len(row.hash) == 64

    async def test_a_deleted_key_is_refused_and_unknown(
        self, accounts: Accounts, ada: User
    ) -> None:
        identity = await signed_in(accounts, ada.username)
        key, secret = await accounts.create_key(identity, "key")
        await accounts.delete_key(identity, key.id)
        assert await is_refused(accounts, secret)
        assert await accounts.list_keys(identity) == []
        await fails(accounts.delete_key(identity, key.id), Code.NOT_FOUND)

    async def test_a_foreign_key_is_unknown(self, accounts: Accounts, ada: User) -> None:
        key, secret = await accounts.create_key(await signed_in(accounts, ada.username), "key")
        await accounts.register("eve", PASSWORD)
        eve = await signed_in(accounts, "eve")
        messages = {
            await fails(accounts.delete_key(eve, key_id), Code.NOT_FOUND)
            for key_id in (key.id, "0196a3f0-7c11-7a2b-9d3c-0123456789ab", "x", "", "nul\0")
        }
        assert len(messages) == 1
        assert await accounts.list_keys(eve) == []
        await accounts.authenticate(secret)

    async def test_a_user_has_at_most_so_many_keys_also_when_they_are_made_at_once(
        self, accounts: Accounts, ada: User
    ) -> None:
        identity = await signed_in(accounts, ada.username)
        outcomes = await asyncio.gather(
            *(accounts.create_key(identity, "key") for _ in range(MOST_KEYS + 5)),
            return_exceptions=True,
        )
        refusals = [outcome for outcome in outcomes if isinstance(outcome, RunnelError)]
        assert [error.code for error in refusals] == [Code.CONFLICT] * 5
        keys = await accounts.list_keys(identity)
        assert len(keys) == MOST_KEYS
        await accounts.delete_key(identity, keys[0].id)
        await accounts.create_key(identity, "key")

    async def test_keys_revoked_long_ago_are_removed(
        self, accounts: Accounts, ada: User, clock: StandingClock, database: Database
    ) -> None:
        _, secret = await accounts.create_key(await signed_in(accounts, ada.username), "lasting")
        identity = await accounts.authenticate(secret)
        for _ in range(3):
            key, _ = await accounts.create_key(identity, "short-lived")
            await accounts.delete_key(identity, key.id)
        clock.advance(86_401)
        await accounts.create_key(identity, "another")
        assert await count(database, ApiKeyRow) == 2

    @pytest.mark.parametrize("name", ["x" * 129, "line\nbreak", "nul\0", "\ud800"])
    async def test_an_unfit_name_is_refused(self, accounts: Accounts, ada: User, name: str) -> None:
        identity = await signed_in(accounts, ada.username)
        await fails(accounts.create_key(identity, name), Code.INVALID_REQUEST, "name")

    async def test_a_key_cannot_log_out(self, accounts: Accounts, ada: User) -> None:
        _, secret = await accounts.create_key(await signed_in(accounts, ada.username), "key")
        await fails(accounts.logout(await accounts.authenticate(secret)), Code.CONFLICT)
        await accounts.authenticate(secret)
