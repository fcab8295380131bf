"""What admins do with the accounts of others, by their ids, from within a running server."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

from runnel.accounts import names
from runnel.accounts.entities import Identity, ListedUser, User, UserRole
from runnel.accounts.passwords import Passwords, random_password
from runnel.accounts.ports import Account, Announce, UserChange, UserStore
from runnel.accounts.service import refuse_unfit, refuse_weak, taken
from runnel.errors import Code, RunnelError

_ID: Final = re.compile(r"[0-9a-f-]{36}")


class Managing:
    """The use cases. Raises RunnelError, `store_unavailable` besides what each method names, and
    `not_found` for an id that nobody has. `announce` is called when something was revoked.

    Nobody does to oneself what locks oneself out, or what the own account asks a password for.
    """

    def __init__(
        self,
        store: UserStore,
        passwords: Passwords,
        *,
        clock: Callable[[], datetime],
        announce: Announce,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock
        self._announce = announce

    async def page(self, part: str | None, after: str | None, limit: int) -> list[ListedUser]:
        """Accounts whose names have that part, by their names, behind the name `after`."""
        if after is not None and not names.may_exist(after):
            raise RunnelError(
                Code.INVALID_REQUEST, "The cursor is no `next_cursor` of a page.", field="cursor"
            )
        if part and not names.may_exist(part):
            return []
        return await self._store.user_page(part or "", after or "", limit)

    async def add(
        self, username: str, password: str | None, role: UserRole
    ) -> tuple[User, str | None]:
        """A new account, and its password, if one had to be made up.

        Raises `invalid_request` with the field, `conflict` if the name is taken.
        """
        made_up = random_password() if password is None else None
        chosen = made_up or password or ""
        refuse_unfit(username, chosen)
        password_hash = await self._passwords.hash(chosen)
        user = await self._store.add_user(username, password_hash, role, self._clock())
        if user is None:
            raise taken()
        return user, made_up

    async def change(self, caller: Identity, user_id: str, change: UserChange) -> User:
        """Raises `conflict` for the last enabled admin and for the own account, `forbidden` for
        another role of the guest's.
        """
        account = await self._account(user_id)
        harms = change.disabled is True or change.role == "user"
        if harms and user_id == caller.user_id:
            raise RunnelError(
                Code.CONFLICT, "This is your own account. Let another admin do it.", retryable=False
            )
        if change.role is not None:
            _refuse_guest(account)
        user = await self._store.change_user(user_id, change, self._clock())
        if user is None:
            raise _unknown()
        self._announce()
        return user

    async def reset_password(
        self, caller: Identity, user_id: str, password: str | None
    ) -> str | None:
        """Sets a password, made up and returned if none is given, and ends all the user's logins.

        Raises `invalid_request`, `forbidden` for the guest, `conflict` for the own account, and
        if it was changed meanwhile.
        """
        account = await self._account(user_id)
        _refuse_guest(account)
        if user_id == caller.user_id:
            raise RunnelError(
                Code.CONFLICT,
                "The own password is changed with POST /me/password.",
                retryable=False,
            )
        made_up = random_password() if password is None else None
        chosen = made_up or password or ""
        refuse_weak(account.user.username, chosen)
        password_hash = await self._passwords.hash(chosen)
        if not await self._store.change_password(account, password_hash, self._clock()):
            raise RunnelError(Code.CONFLICT, "The account was changed meanwhile. Try again.")
        self._announce()
        return made_up

    async def _account(self, user_id: str) -> Account:
        account = await self._store.account(user_id) if _ID.fullmatch(user_id) else None
        if account is None:
            raise _unknown()
        return account


def _refuse_guest(account: Account) -> None:
    if names.is_guest(account.user.username):
        raise RunnelError(Code.FORBIDDEN, "The guest is nobody: it has no password and no role.")


def _unknown() -> RunnelError:
    return RunnelError(Code.NOT_FOUND, "There is no such account.")
