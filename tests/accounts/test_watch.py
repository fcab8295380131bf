"""Watch: what is revoked is closed once, what only expired stays open."""

import asyncio
from collections.abc import Collection
from contextlib import ExitStack
from datetime import datetime

import pytest
from stand_ins import StandingClock
from structlog.testing import capture_logs

from runnel.accounts.administration import Administration
from runnel.accounts.entities import Identity
from runnel.accounts.logins import Logins
from runnel.accounts.passwords import Passwords
from runnel.accounts.ports import AccountStore, Revocations
from runnel.accounts.service import Accounts
from runnel.accounts.tokens import Tokens
from runnel.accounts.watch import MISSING_PER_LOOK, OVERLAP, Watch
from runnel.errors import Code, RunnelError

PASSWORD = "correct horse battery"


class Held:
    """Something open that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


class Reports:
    """The users that Watch reported as disabled, in order."""

    def __init__(self) -> None:
        self.users: list[str] = []

    async def add(self, user_id: str) -> None:
        self.users.append(user_id)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def watch(store: AccountStore, clock: StandingClock, reports: Reports) -> Watch:
    return Watch(store, check_seconds=2, clock=clock, on_user_disabled=reports.add)


@pytest.fixture
async def ada(accounts: Accounts) -> Identity:
    return await register(accounts, "ada")


@pytest.fixture
async def eve(accounts: Accounts) -> Identity:
    return await register(accounts, "eve")


async def register(accounts: Accounts, username: str) -> Identity:
    await accounts.register(username, PASSWORD)
    return await signed_in(accounts, username)


async def signed_in(accounts: Accounts, username: str) -> Identity:
    pair = await accounts.login(username, PASSWORD)
    return await accounts.authenticate(pair.access_token)


async def test_a_logout_closes_what_its_login_holds_once_and_nothing_else(
    watch: Watch, accounts: Accounts, ada: Identity, eve: Identity, clock: StandingClock
) -> None:
    same_user = await signed_in(accounts, "ada")
    first, second, elsewhere, foreign = Held(), Held(), Held(), Held()
    with (
        watch.holding(ada, first.close),
        watch.holding(ada, second.close),
        watch.holding(same_user, elsewhere.close),
        watch.holding(eve, foreign.close),
    ):
        await watch.look()
        assert first.closed == 0
        await accounts.logout(ada)
        for _ in range(3):
            clock.advance(2)
            await watch.look()
    assert (first.closed, second.closed, elsewhere.closed, foreign.closed) == (1, 1, 0, 0)


async def test_a_revoked_key_closes_what_it_holds(
    watch: Watch, accounts: Accounts, ada: Identity
) -> None:
    key, secret = await accounts.create_key(ada, "key")
    held, other = Held(), Held()
    with (
        watch.holding(await accounts.authenticate(secret), held.close),
        watch.holding(ada, other.close),
    ):
        await accounts.delete_key(ada, key.id)
        await watch.look()
    assert (held.closed, other.closed) == (1, 0)


async def test_a_new_password_closes_what_logins_hold_and_leaves_keys(
    watch: Watch, accounts: Accounts, ada: Identity
) -> None:
    _, secret = await accounts.create_key(ada, "key")
    held, by_key = Held(), Held()
    with (
        watch.holding(ada, held.close),
        watch.holding(await accounts.authenticate(secret), by_key.close),
    ):
        await accounts.change_password(ada, PASSWORD, "another good one")
        await watch.look()
    assert (held.closed, by_key.closed) == (1, 0)


async def test_a_stolen_refresh_token_closes_what_its_login_holds(
    watch: Watch, accounts: Accounts, ada: Identity, clock: StandingClock
) -> None:
    pair = await accounts.login(ada.username, PASSWORD)
    identity = await accounts.authenticate(pair.access_token)
    held = Held()
    with watch.holding(identity, held.close):
        await accounts.refresh(pair.refresh_token)
        clock.advance(60)
        with pytest.raises(RunnelError):
            await accounts.refresh(pair.refresh_token)
        await watch.look()
    assert held.closed == 1


async def test_a_disabled_user_is_reported_once_and_all_that_is_held_closed(
    *,
    watch: Watch,
    accounts: Accounts,
    administration: Administration,
    reports: Reports,
    ada: Identity,
    clock: StandingClock,
) -> None:
    _, secret = await accounts.create_key(ada, "key")
    by_login, by_key = Held(), Held()
    with (
        watch.holding(ada, by_login.close),
        watch.holding(await accounts.authenticate(secret), by_key.close),
    ):
        await administration.disable("ada")
        for _ in range(40):
            await watch.look()
            clock.advance(2)
    assert (by_login.closed, by_key.closed) == (1, 1)
    assert reports.users == [ada.user_id]


async def test_a_user_who_is_disabled_again_is_reported_again(
    watch: Watch,
    administration: Administration,
    reports: Reports,
    eve: Identity,
    clock: StandingClock,
) -> None:
    await administration.disable("eve")
    await watch.look()
    await administration.enable("eve")
    clock.advance(1)
    await administration.disable("eve")
    await watch.look()
    assert reports.users == [eve.user_id] * 2


async def test_a_guest_who_is_disabled_loses_what_is_held(
    watch: Watch, store: AccountStore, administration: Administration, clock: StandingClock
) -> None:
    user = await store.add_user("guest", "!", "user", clock.now)
    assert user
    held = Held()
    with watch.holding(Identity(user.id, "guest", "user", None, guest=True), held.close):
        await administration.disable("guest")
        await watch.look()
    assert held.closed == 1


async def test_a_deleted_user_loses_what_is_held(
    watch: Watch, accounts: Accounts, ada: Identity, eve: Identity
) -> None:
    held, other = Held(), Held()
    with watch.holding(ada, held.close), watch.holding(eve, other.close):
        await accounts.delete(ada.user_id)
        await watch.look()
    assert (held.closed, other.closed) == (1, 0)


async def test_of_many_users_who_hold_something_each_is_looked_up_in_its_turn(
    watch: Watch,
) -> None:
    held = [Held() for _ in range(2 * MISSING_PER_LOOK + 1)]
    with ExitStack() as stack:
        for number, each in enumerate(held):
            nobody = Identity(f"user-{number}", "gone", "user", f"login-{number}")
            stack.enter_context(watch.holding(nobody, each.close))
        closed: list[int] = []
        for _ in range(3):
            await watch.look()
            closed.append(sum(each.closed for each in held))
    assert closed == [MISSING_PER_LOOK, 2 * MISSING_PER_LOOK, 2 * MISSING_PER_LOOK + 1]


async def test_expiry_alone_closes_nothing(
    watch: Watch, accounts: Accounts, ada: Identity, clock: StandingClock
) -> None:
    held = Held()
    with watch.holding(ada, held.close):
        clock.advance(40 * 86_400)
        await accounts.login("ada", PASSWORD)  # removes the expired login
        await watch.look()
    assert held.closed == 0


async def test_what_was_let_go_is_left_alone(
    watch: Watch, accounts: Accounts, ada: Identity
) -> None:
    held = Held()
    with watch.holding(ada, held.close):
        pass
    await accounts.logout(ada)
    await watch.look()
    assert held.closed == 0


async def test_what_is_opened_just_after_it_was_revoked_is_closed_too(
    watch: Watch, accounts: Accounts, ada: Identity, clock: StandingClock
) -> None:
    await accounts.logout(ada)
    await watch.look()
    held = Held()
    with watch.holding(ada, held.close):
        clock.advance(2)
        await watch.look()
    assert held.closed == 1


async def test_an_instance_whose_clock_is_behind_is_seen(
    watch: Watch, store: AccountStore, ada: Identity, clock: StandingClock
) -> None:
    clock.advance(3600)
    await watch.look()
    held = Held()
    assert ada.login_id
    with watch.holding(ada, held.close):
        await store.revoke_login(ada.login_id, clock.now - OVERLAP / 2)
        await watch.look()
    assert held.closed == 1


class Shaky:
    """A store that fails while it is told to, and says when it was asked."""

    def __init__(self, store: AccountStore) -> None:
        self._store = store
        self.failing: Exception | None = None
        self.asked = asyncio.Event()

    async def revoked_since(self, moment: datetime) -> Revocations:
        self.asked.set()
        if self.failing:
            raise self.failing
        return await self._store.revoked_since(moment)

    async def missing_users(self, user_ids: Collection[str]) -> set[str]:
        return await self._store.missing_users(user_ids)


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        (RunnelError(Code.STORE_UNAVAILABLE, "away"), "revocations_not_read"),
        (ZeroDivisionError("a fault of ours"), "revocations_not_ended"),
    ],
)
async def test_a_watch_outlives_failures_and_misses_nothing_meanwhile(
    *,
    store: AccountStore,
    accounts: Accounts,
    ada: Identity,
    clock: StandingClock,
    reports: Reports,
    failure: Exception,
    event: str,
) -> None:
    shaky = Shaky(store)
    shaky.failing = failure
    watch = Watch(shaky, check_seconds=0.001, clock=clock, on_user_disabled=reports.add)
    closed = asyncio.Event()
    with watch.holding(ada, closed.set), capture_logs() as logs:
        running = asyncio.create_task(watch.run())
        await accounts.logout(ada)
        clock.advance(3600)
        shaky.asked.clear()
        await asyncio.wait_for(shaky.asked.wait(), 5)
        assert not closed.is_set()
        shaky.failing = None
        await asyncio.wait_for(closed.wait(), 5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert {entry["event"] for entry in logs} == {event}


async def test_a_report_that_fails_is_made_again(
    store: AccountStore, administration: Administration, eve: Identity, clock: StandingClock
) -> None:
    tried: list[str] = []

    async def fail_once(user_id: str) -> None:
        tried.append(user_id)
        if len(tried) == 1:
            raise RunnelError(Code.STORE_UNAVAILABLE, "away")

    watch = Watch(store, check_seconds=2, clock=clock, on_user_disabled=fail_once)
    await administration.disable("eve")
    with pytest.raises(RunnelError):
        await watch.look()
    clock.advance(3600)
    await watch.look()
    await watch.look()
    assert tried == [eve.user_id] * 2


async def test_a_watch_that_is_woken_looks_at_once_and_again_if_it_is_while_it_looks(
    store: AccountStore, accounts: Accounts, ada: Identity, eve: Identity, clock: StandingClock
) -> None:
    watch = Watch(store, check_seconds=1000, clock=clock, on_user_disabled=Reports().add)
    first, second = asyncio.Event(), asyncio.Event()
    running = asyncio.create_task(watch.run())
    with watch.holding(ada, first.set), watch.holding(eve, second.set):
        await asyncio.sleep(0.1)
        await accounts.logout(ada)
        watch.wake()
        await asyncio.wait_for(first.wait(), 5)
        await accounts.logout(eve)
        watch.wake()
        watch.wake()
        await asyncio.wait_for(second.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_whatever_is_revoked_is_announced_and_nothing_else(
    store: AccountStore, passwords: Passwords, tokens: Tokens, clock: StandingClock
) -> None:
    announced = list[int]()

    def announce() -> None:
        announced.append(len(announced))

    logins = Logins(
        store, tokens, access_minutes=60, refresh_days=30, clock=clock, announce=announce
    )
    accounts = Accounts(
        store,
        passwords,
        logins,
        registration_open=True,
        anonymous=False,
        clock=clock,
        announce=announce,
    )
    await accounts.register("ada", PASSWORD)
    pair = await accounts.login("ada", PASSWORD)
    await accounts.refresh(pair.refresh_token)
    ada = await accounts.authenticate(pair.access_token)
    key, _ = await accounts.create_key(ada, "key")
    assert len(announced) == 0
    await accounts.delete_key(ada, key.id)
    assert len(announced) == 1
    with pytest.raises(RunnelError):
        await accounts.delete_key(ada, key.id)
    assert len(announced) == 1
    await accounts.change_password(ada, PASSWORD, "another horse battery")
    assert len(announced) == 2
    pair = await accounts.login("ada", "another horse battery")
    again = await accounts.refresh(pair.refresh_token)
    clock.advance(11)
    with pytest.raises(RunnelError):
        await accounts.refresh(pair.refresh_token)  # stolen
    assert len(announced) == 3
    del again
    ada = await signed_in_with(accounts, "another horse battery")
    await accounts.logout(ada)
    assert len(announced) == 4
    await accounts.register("bea", PASSWORD)
    bea = await signed_in(accounts, "bea")
    await accounts.delete(bea.user_id)
    assert len(announced) == 5


async def signed_in_with(accounts: Accounts, password: str) -> Identity:
    return await accounts.authenticate((await accounts.login("ada", password)).access_token)
