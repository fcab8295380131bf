"""A refresh token gives one new pair, and ends its login when it is shown again later."""

import asyncio

import pytest
from stand_ins import (
    PASSWORD,
    StandingClock,
    count,
    fails,
    is_refused,
)
from structlog.testing import capture_logs

from runnel.accounts.entities import User
from runnel.accounts.service import Accounts
from runnel.errors import Code, RunnelError
from runnel.store.engine import Database
from runnel.store.tables import RefreshTokenRow


class TestRefresh:
    async def test_a_refresh_token_gives_a_new_pair_of_the_same_login(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        first = await accounts.login(ada.username, PASSWORD)
        clock.advance(7200)
        second = await accounts.refresh(first.refresh_token)
        assert await is_refused(accounts, first.access_token)
        identity = await accounts.authenticate(second.access_token)
        assert identity.user_id == ada.id
        await accounts.logout(identity)
        await fails(accounts.refresh(second.refresh_token), Code.UNAUTHORIZED)

    async def test_a_login_that_is_refreshed_goes_on(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        for _ in range(4):
            clock.advance(29 * 86_400)
            pair = await accounts.refresh(pair.refresh_token)
        await accounts.authenticate(pair.access_token)
        clock.advance(30 * 86_400)
        await fails(accounts.refresh(pair.refresh_token), Code.UNAUTHORIZED)

    async def test_of_two_at_once_one_gets_the_pair_and_nothing_is_revoked(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        for _ in range(50):
            outcomes = await asyncio.gather(
                accounts.refresh(pair.refresh_token),
                accounts.refresh(pair.refresh_token),
                return_exceptions=True,
            )
            errors = [outcome for outcome in outcomes if isinstance(outcome, RunnelError)]
            pairs = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
            assert [(error.code, error.retryable) for error in errors] == [(Code.CONFLICT, True)]
            [pair] = pairs
            await accounts.authenticate(pair.access_token)
            clock.advance(1)

    async def test_two_tabs_ten_seconds_apart_are_forgiven(
        self, accounts: Accounts, ada: User, clock: StandingClock
    ) -> None:
        first = await accounts.login(ada.username, PASSWORD)
        second = await accounts.refresh(first.refresh_token)
        clock.advance(9.9)
        await fails(accounts.refresh(first.refresh_token), Code.CONFLICT)
        await accounts.authenticate(second.access_token)
        await accounts.refresh(second.refresh_token)

    @pytest.mark.parametrize("seconds", [10, 59, 61, 86_400])
    async def test_a_token_shown_again_later_revokes_the_whole_login(
        self, accounts: Accounts, ada: User, clock: StandingClock, seconds: float
    ) -> None:
        first = await accounts.login(ada.username, PASSWORD)
        other = await accounts.login(ada.username, PASSWORD)
        second = await accounts.refresh(first.refresh_token)
        clock.advance(seconds)
        latest = await accounts.refresh(second.refresh_token)
        with capture_logs() as logs:
            await fails(accounts.refresh(first.refresh_token), Code.UNAUTHORIZED)
        assert [entry["event"] for entry in logs] == ["refresh_token_reused"]
        assert first.refresh_token not in repr(logs)
        assert await is_refused(accounts, latest.access_token)
        await fails(accounts.refresh(latest.refresh_token), Code.UNAUTHORIZED)
        await accounts.refresh(other.refresh_token)

    async def test_used_tokens_are_forgotten_and_taken_for_stolen_all_the_same(
        self, accounts: Accounts, ada: User, clock: StandingClock, database: Database
    ) -> None:
        first = pair = await accounts.login(ada.username, PASSWORD)
        for _ in range(20):
            clock.advance(61)
            pair = await accounts.refresh(pair.refresh_token)
        assert await count(database, RefreshTokenRow) == 2
        await fails(accounts.refresh(first.refresh_token), Code.UNAUTHORIZED)
        assert await is_refused(accounts, pair.access_token)

    async def test_an_access_token_refreshes_nothing(self, accounts: Accounts, ada: User) -> None:
        pair = await accounts.login(ada.username, PASSWORD)
        await fails(accounts.refresh(pair.access_token), Code.UNAUTHORIZED)
        await accounts.refresh(pair.refresh_token)
