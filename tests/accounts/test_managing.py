"""What admins do with the accounts of others: found by name, kept out and let in, given roles and passwords."""

import asyncio

import pytest
from stand_ins import PASSWORD, StandingClock, fails, is_refused

from runnel.accounts.administration import Administration
from runnel.accounts.entities import Identity, User
from runnel.accounts.managing import Managing
from runnel.accounts.ports import UserChange
from runnel.accounts.service import Accounts
from runnel.errors import Code

DISABLE = UserChange(disabled=True)
ENABLE = UserChange(disabled=False)
ADMIN = UserChange(role="admin")
DEMOTE = UserChange(role="user")


@pytest.fixture
async def chief(administration: Administration) -> Identity:
    """The only admin."""
    await administration.ensure_admin("chief", PASSWORD)
    user = await administration.find("chief")
    return Identity(user.id, user.username, "admin", "some-login")


async def names(managing: Managing, part: str | None = None, after: str | None = None) -> list[str]:
    return [each.user.username for each in await managing.page(part, after, 100)]


async def test_accounts_are_found_by_a_part_of_their_names(
    managing: Managing, administration: Administration
) -> None:
    for name in ("bea", "Ana_1", "ana.2", "CARL"):
        await administration.add_user(name, PASSWORD, "user")
    assert sorted(await names(managing)) == ["Ana_1", "CARL", "ana.2", "bea"]
    assert sorted(await names(managing, "ANA")) == ["Ana_1", "ana.2"]
    assert await names(managing, "_") == ["Ana_1"]  # stands for itself
    for nobodys in ("%", "\0", "x" * 70, "é"):
        assert await names(managing, nobodys) == []
    first, *rest = await names(managing)
    assert await names(managing, after=first) == rest
    assert await names(managing, after=rest[-1]) == []
    await fails(managing.page(None, "\0", 5), Code.INVALID_REQUEST, "cursor")


async def test_a_list_tells_of_the_newest_login(
    managing: Managing, accounts: Accounts, ada: User, clock: StandingClock
) -> None:
    [listed] = await managing.page("ada", None, 5)
    assert (listed.user, listed.last_login_at) == (ada, None)
    await accounts.login("ada", PASSWORD)
    clock.advance(60)
    await accounts.login("ada", PASSWORD)
    [listed] = await managing.page("ada", None, 5)
    assert listed.last_login_at == clock()


async def test_who_is_disabled_is_out_and_comes_in_again_when_enabled(
    managing: Managing, accounts: Accounts, ada: User, chief: Identity
) -> None:
    pair = await accounts.login("ada", PASSWORD)
    changed = await managing.change(chief, ada.id, DISABLE)
    assert changed.disabled_at is not None
    assert await is_refused(accounts, pair.access_token)
    await fails(accounts.login("ada", PASSWORD), Code.UNAUTHORIZED)
    assert (await managing.change(chief, ada.id, ENABLE)).disabled_at is None
    assert await is_refused(accounts, pair.access_token)
    await accounts.login("ada", PASSWORD)


async def test_an_admin_is_made_and_unmade_by_another(
    managing: Managing, accounts: Accounts, ada: User, chief: Identity
) -> None:
    token = (await accounts.login("ada", PASSWORD)).access_token
    assert (await managing.change(chief, ada.id, ADMIN)).role == "admin"
    assert (await accounts.authenticate(token)).role == "admin"
    await managing.change(chief, ada.id, DEMOTE)
    assert (await accounts.authenticate(token)).role == "user"


async def test_nobody_locks_oneself_out_nor_the_last_admin(
    managing: Managing, ada: User, chief: Identity
) -> None:
    for change in (DISABLE, DEMOTE, UserChange(disabled=True, role="admin")):
        await fails(managing.change(chief, chief.user_id, change), Code.CONFLICT)
    await fails(managing.reset_password(chief, chief.user_id, None), Code.CONFLICT)
    # Told by another, whom it took the role meanwhile.
    other = Identity(ada.id, ada.username, "admin", "some-login")
    for change in (DISABLE, DEMOTE):
        await fails(managing.change(other, chief.user_id, change), Code.CONFLICT)
    await managing.change(chief, chief.user_id, ENABLE)


async def test_of_two_admins_who_unmake_each_other_one_is_left(
    managing: Managing, ada: User, chief: Identity
) -> None:
    await managing.change(chief, ada.id, ADMIN)
    other = Identity(ada.id, ada.username, "admin", "some-login")
    done = await asyncio.gather(
        managing.change(chief, ada.id, DEMOTE),
        managing.change(other, chief.user_id, DISABLE),
        return_exceptions=True,
    )
    assert sorted(isinstance(each, User) for each in done) == [False, True]


async def test_a_new_password_ends_logins(
    managing: Managing, accounts: Accounts, ada: User, chief: Identity
) -> None:
    pair = await accounts.login("ada", PASSWORD)
    made_up = await managing.reset_password(chief, ada.id, None)
    assert made_up
    assert await is_refused(accounts, pair.access_token)
    await accounts.login("ada", made_up)
    await fails(managing.reset_password(chief, ada.id, "short"), Code.INVALID_REQUEST, "password")
    assert await managing.reset_password(chief, ada.id, PASSWORD) is None
    await accounts.login("ada", PASSWORD)


async def test_the_guest_has_no_role_and_no_password(
    managing: Managing, open_accounts: Accounts, chief: Identity
) -> None:
    guest = await open_accounts.authenticate(None)
    await fails(managing.change(chief, guest.user_id, ADMIN), Code.FORBIDDEN)
    await fails(managing.reset_password(chief, guest.user_id, None), Code.FORBIDDEN)
    await managing.change(chief, guest.user_id, DISABLE)


@pytest.mark.parametrize("user_id", ["nobody", "", "nul\0", "\ud800", "0" * 36])
async def test_an_unknown_id_is_not_found(
    managing: Managing, chief: Identity, user_id: str
) -> None:
    await fails(managing.change(chief, user_id, DISABLE), Code.NOT_FOUND)
    await fails(managing.reset_password(chief, user_id, None), Code.NOT_FOUND)
