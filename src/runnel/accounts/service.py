"""What users do with their accounts, and who a request is made for."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from runnel.accounts import keys, names
from runnel.accounts.entities import ApiKey, Identity, TokenPair, User
from runnel.accounts.logins import Logins
from runnel.accounts.passwords import UNUSABLE, Passwords, weakness
from runnel.accounts.ports import Account, AccountStore, Announce, tell_nobody
from runnel.accounts.tokens import refused
from runnel.errors import Code, RunnelError

MOST_KEYS: Final = 50
MOST_KEY_NAME_CHARACTERS: Final = 128
_ID: Final = re.compile(r"[0-9a-f-]{36}")

_log = structlog.get_logger()


class Accounts:
    """The use cases. Raises RunnelError, `store_unavailable` besides what each method names.

    `announce` is called when something was revoked.
    """

    def __init__(
        self,
        store: AccountStore,
        passwords: Passwords,
        logins: Logins,
        *,
        registration_open: bool,
        anonymous: bool,
        clock: Callable[[], datetime],
        announce: Announce = tell_nobody,
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._logins = logins
        self._registration_open = registration_open
        self._anonymous = anonymous
        self._clock = clock
        self._announce = announce

    async def authenticate(self, credential: str | None) -> Identity:
        """Whose an access token or an API key is; without one the guest, if there may be one.

        Reads the database once. Raises `unauthorized`, the same for whatever does not hold.
        """
        if credential is None:
            return await self._guest()
        if credential.startswith(keys.PREFIX):
            return await self._holder_of_key(credential)
        return await self._logins.identify(credential)

    async def holder(self, user_id: str, login_id: str | None) -> Identity:
        """Who something was given to that an identity with this login asked for.

        Raises `unauthorized` if that login or API key does not hold any more, nor their user.
        """
        if login_id is None:
            user = await self._guest()
        else:
            found = await self._store.user_behind(login_id, self._clock())
            if found is None:
                raise refused()
            user = Identity(found.id, found.username, found.role, login_id)
        if user.user_id != user_id:
            raise refused()
        return user

    async def login(self, username: str, password: str) -> TokenPair:
        """A new login. Raises `unauthorized`, the same and for the same work whatever is wrong."""
        account = None
        if names.may_exist(username):
            account = await self._store.account_named(username)
        matches = await self._passwords.verify(account and account.password_hash, password)
        pair = await self._logins.open(account) if account and matches else None
        if pair is None:
            # Not the name as it was sent: people type passwords into the wrong field.
            _log.info("login_failed", user_id=account and account.user.id)
            raise RunnelError(Code.UNAUTHORIZED, "The username or the password is wrong.")
        return pair

    async def register(self, username: str, password: str) -> User:
        """A new account. Raises `forbidden`, `invalid_request` with the field, `conflict`."""
        if not self._registration_open:
            raise RunnelError(Code.FORBIDDEN, "Registration is closed. Ask an admin.")
        refuse_unfit(username, password)
        password_hash = await self._passwords.hash(password)
        user = await self._store.add_user(username, password_hash, "user", self._clock())
        if user is None:
            raise taken()
        return user

    async def refresh(self, refresh_token: str) -> TokenPair:
        """As Logins.refresh."""
        return await self._logins.refresh(refresh_token)

    async def logout(self, identity: Identity) -> None:
        """Revokes the login and all its tokens. Raises `conflict` for what is no login."""
        if identity.login_id is None:
            raise RunnelError(Code.CONFLICT, "Without credentials there is nothing to log out of.")
        if not await self._store.revoke_login(identity.login_id, self._clock()):
            raise RunnelError(
                Code.CONFLICT, "An API key is revoked with DELETE /api/keys/{id}, not by logout."
            )
        self._announce()

    async def me(self, identity: Identity) -> User:
        """Raises `unauthorized` if the account is gone."""
        return (await self._account(identity.user_id)).user

    async def change_password(self, identity: Identity, current: str, new: str) -> None:
        """Changes the own password and ends all the user's logins; API keys stay valid.

        Raises `forbidden` if the current one is wrong, `invalid_request` for a weak new one,
        `conflict` if it was changed meanwhile.
        """
        _refuse_guest(identity.username)
        account = await self._account(identity.user_id)
        if not await self._passwords.verify(account.password_hash, current):
            raise RunnelError(
                Code.FORBIDDEN, "The current password is wrong.", field="current_password"
            )
        refuse_weak(identity.username, new, field="new_password")
        new_hash = await self._passwords.hash(new)
        if not await self._store.change_password(account, new_hash, self._clock()):
            raise RunnelError(Code.CONFLICT, "The password was changed meanwhile. Log in again.")
        self._announce()

    async def refuse_undeletable(self, user_id: str) -> None:
        """To be asked before what runs in an account is aborted for its deletion.

        Raises `not_found`; `forbidden` for the guest, `conflict` for the last enabled admin.
        """
        account = await self._store.account(user_id) if _ID.fullmatch(user_id) else None
        if account is None:
            raise RunnelError(Code.NOT_FOUND, "There is no such account.")
        _refuse_guest(account.user.username)
        await self._store.refuse_last_admin(user_id)

    async def delete(self, user_id: str) -> None:
        """Removes an account and all its data; whoever calls has aborted what runs in it.

        Raises as `refuse_undeletable`.
        """
        await self.refuse_undeletable(user_id)
        await self._store.delete_user(user_id)
        self._announce()

    async def create_key(self, identity: Identity, name: str) -> tuple[ApiKey, str]:
        """A new API key, whose name may be empty, and its text, which nobody can see again.

        Raises `forbidden` for the guest, `invalid_request`, `conflict` over MOST_KEYS.
        """
        _refuse_guest(identity.username)
        name = name.strip()
        if len(name) > MOST_KEY_NAME_CHARACTERS or not name.isprintable():
            raise RunnelError(
                Code.INVALID_REQUEST,
                f"The name has to be at most {MOST_KEY_NAME_CHARACTERS} printable characters.",
                field="name",
            )
        new = keys.new_key()
        key = await self._store.add_key(
            identity.user_id, name, new.prefix, new.hash, most=MOST_KEYS, moment=self._clock()
        )
        return key, new.secret

    async def list_keys(self, identity: Identity) -> list[ApiKey]:
        """The user's API keys that are not revoked, the oldest first; at most MOST_KEYS."""
        return await self._store.keys(identity.user_id)

    async def delete_key(self, identity: Identity, key_id: str) -> None:
        """Revokes an own API key. Raises `not_found` for unknown, revoked and foreign alike."""
        if not _ID.fullmatch(key_id) or not await self._store.revoke_key(
            identity.user_id, key_id, self._clock()
        ):
            raise RunnelError(Code.NOT_FOUND, "There is no such API key.")
        self._announce()

    async def _guest(self) -> Identity:
        if not self._anonymous:
            raise RunnelError(
                Code.UNAUTHORIZED,
                "Send `Authorization: Bearer` with a token of POST /login, or with an API key.",
            )
        account = await self._store.account_named(names.GUEST)
        user = account.user if account else await self._make_guest()
        if user.disabled_at is not None:
            raise refused()
        return Identity(user.id, user.username, user.role, login_id=None, guest=True)

    async def _make_guest(self) -> User:
        user = await self._store.add_user(names.GUEST, UNUSABLE, "user", self._clock())
        if user is not None:
            return user
        account = await self._store.account_named(names.GUEST)  # another request was faster
        if account is None:
            raise refused()
        return account.user

    async def _holder_of_key(self, credential: str) -> Identity:
        key_hash = keys.hash_of(credential)
        found = await self._store.user_of_key(key_hash) if key_hash else None
        if found is None:
            raise refused()
        key_id, user = found
        return Identity(user.id, user.username, user.role, key_id)

    async def _account(self, user_id: str) -> Account:
        account = await self._store.account(user_id)
        if account is None:
            raise refused()
        return account


def refuse_unfit(username: str, password: str) -> None:
    """Raises RunnelError `invalid_request` naming the field that no new account may have."""
    unfit = names.unfitness(username)
    if unfit is not None:
        raise RunnelError(Code.INVALID_REQUEST, f"The username {unfit}.", field="username")
    refuse_weak(username, password)


def refuse_weak(username: str, password: str, *, field: str = "password") -> None:
    """Raises RunnelError `invalid_request` for a weak password."""
    weak = weakness(username, password)
    if weak is not None:
        raise RunnelError(Code.INVALID_REQUEST, f"The password {weak}.", field=field)


def taken() -> RunnelError:
    return RunnelError(Code.CONFLICT, "The username is taken.", field="username")


def _refuse_guest(username: str) -> None:
    if names.is_guest(username):
        raise RunnelError(Code.FORBIDDEN, "The guest's account belongs to nobody. Log in first.")
