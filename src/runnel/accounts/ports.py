"""What accounts need of the world: a store, in four narrow parts. Adapters implement them.

Every call is one short transaction and raises RunnelError `store_unavailable` if the database
is away. Moments are aware datetimes and come from the caller: a store reads no clock.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Protocol

from runnel.accounts.entities import ApiKey, ListedUser, User, UserRole


@dataclass(frozen=True, slots=True)
class Account:
    """A user with what proves it."""

    user: User
    password_hash: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UserChange:
    """What an admin changes of an account; None stays as it is."""

    disabled: bool | None = None
    role: UserRole | None = None


class UserStore(Protocol):
    """The accounts."""

    async def add_user(
        self, username: str, password_hash: str, role: UserRole, moment: datetime
    ) -> User | None:
        """A new account; None if the name is taken, in whatever case."""
        ...

    async def account(self, user_id: str) -> Account | None: ...

    async def account_named(self, username: str) -> Account | None:
        """The account of that name, in whatever case."""
        ...

    async def users(self) -> list[User]:
        """All accounts, the oldest first."""
        ...

    async def user_page(self, part: str, after: str, limit: int) -> list[ListedUser]:
        """Accounts whose names have that part, in whatever case, by their names in lower case;
        those behind the name `after`.
        """
        ...

    async def change_user(self, user_id: str, change: UserChange, moment: datetime) -> User | None:
        """All of a change or nothing; None if the account is gone. To disable revokes its logins.

        Raises RunnelError `conflict` if no enabled admin would be left.
        """
        ...

    async def has_admin(self) -> bool:
        """Whether any account, disabled or not, has the role `admin`."""
        ...

    async def change_password(self, account: Account, password_hash: str, moment: datetime) -> bool:
        """Sets the password and revokes all the user's logins.

        False, and nothing done, if the account is gone or has another password by now.
        """
        ...

    async def disable_user(self, user_id: str, moment: datetime) -> None:
        """Disables the account and revokes its logins; keeps the time if it was disabled.

        Raises RunnelError `conflict` for the last enabled admin.
        """
        ...

    async def enable_user(self, user_id: str) -> None: ...

    async def refuse_last_admin(self, user_id: str) -> None:
        """Raises RunnelError `conflict` for the last enabled admin."""
        ...

    async def delete_user(self, user_id: str) -> None:
        """Removes the account and all that hangs on it.

        Raises RunnelError `conflict` for the last enabled admin.
        """
        ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """A refresh token (by its `jti`) handed in for a new one, and the rules that hold then."""

    login_id: str
    old_id: str
    new_id: str
    moment: datetime
    #: When the login ends, if nobody exchanges the new token before.
    expires_at: datetime
    #: A token used after this was used by another tab.
    forgiven_since: datetime
    #: Tokens used before this are forgotten; whoever shows one is taken for a thief.
    forgotten_before: datetime


class Exchanged(Enum):
    """What became of an exchange."""

    DONE = auto()
    JUST_USED = auto()
    """Another exchange of the same token came first, a moment ago. Nothing was done."""
    REVOKED = auto()
    """The token was used long ago: its whole login is revoked now."""
    ENDED = auto()
    """The login is unknown, revoked or expired, or its user disabled. Nothing was done."""


class LoginStore(Protocol):
    """The logins and their refresh tokens."""

    async def add_login(
        self, account: Account, refresh_id: str | None, moment: datetime, expires_at: datetime
    ) -> str | None:
        """A new login and its first refresh token, if it has one; the login's id.

        Removes the user's expired logins. None if the account is gone, disabled, or has
        another password by now.
        """
        ...

    async def exchange(self, exchange: Exchange) -> Exchanged:
        """Of exchanges of one token that race, exactly one is DONE."""
        ...

    async def revoke_login(self, login_id: str, moment: datetime) -> bool:
        """Revokes a login, again as well; False if there is none of that id."""
        ...

    async def user_of_login(self, login_id: str, moment: datetime) -> User | None:
        """Whose login it is; None if it is revoked, expired or gone, or the user disabled."""
        ...


class KeyStore(Protocol):
    """The API keys, each kept as the hash of its text."""

    async def add_key(
        self, user_id: str, name: str, prefix: str, key_hash: str, *, most: int, moment: datetime
    ) -> ApiKey:
        """A new key. Raises RunnelError `conflict` if the user has `most`, or is gone."""
        ...

    async def keys(self, user_id: str) -> list[ApiKey]:
        """The user's keys that are not revoked, the oldest first."""
        ...

    async def revoke_key(self, user_id: str, key_id: str, moment: datetime) -> bool:
        """False if the user has no such key, or it is revoked."""
        ...

    async def user_of_key(self, key_hash: str) -> tuple[str, User] | None:
        """The key's id and whose it is; None if it is revoked or gone, or the user disabled."""
        ...


#: Tells all who watch that something was revoked. It must neither block nor raise.
Announce = Callable[[], None]


def tell_nobody() -> None:
    """For whoever has nobody to tell: those who watch look by themselves."""


@dataclass(frozen=True, slots=True)
class Revocations:
    """What was revoked: ids of logins and API keys, and of users with when they were disabled."""

    logins: frozenset[str]
    users: Mapping[str, datetime]


class RevocationStore(Protocol):
    """What Watch asks."""

    async def revoked_since(self, moment: datetime) -> Revocations:
        """All that was revoked or disabled at or after a moment, and still is."""
        ...

    async def missing_users(self, user_ids: Collection[str]) -> set[str]:
        """Those of the ids, at most 500, that no account has."""
        ...


class HolderStore(Protocol):
    """What tickets are checked against."""

    async def user_behind(self, login_id: str, moment: datetime) -> User | None:
        """Whose login or API key it is; None if that does not hold any more, nor the user."""
        ...


class AccountStore(UserStore, LoginStore, KeyStore, RevocationStore, HolderStore, Protocol):
    """All of it, as one adapter offers it."""
