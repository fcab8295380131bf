"""What the command line and the start of the server do with accounts, without anyone's leave."""

from collections.abc import Callable
from datetime import datetime

from runnel.accounts import names
from runnel.accounts.entities import User, UserRole
from runnel.accounts.logins import Logins
from runnel.accounts.passwords import Passwords, random_password
from runnel.accounts.ports import Account, UserStore
from runnel.accounts.service import refuse_unfit, refuse_weak, taken
from runnel.errors import Code, RunnelError, StartupError


class Administration:
    """Accounts by their names. Raises RunnelError `not_found` for a name that nobody has."""

    def __init__(
        self,
        store: UserStore,
        passwords: Passwords,
        logins: Logins,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._passwords = passwords
        self._logins = logins
        self._clock = clock

    async def ensure_admin(self, username: str, password: str | None) -> str | None:
        """Makes the first admin, unless there is one; the password, if one had to be made up.

        A weak password is taken: whoever starts the server warns or refuses. Instances that
        start together make one admin. Raises StartupError if nobody can have that name.
        """
        if await self._store.has_admin():
            return None
        unfit = names.unfitness(username)
        if unfit is not None:
            raise StartupError(f"The admin's username {unfit}.")
        made_up = None if password else random_password()
        password_hash = await self._passwords.hash(password or made_up or "")
        user = await self._store.add_user(username, password_hash, "admin", self._clock())
        if user is not None:
            return made_up
        if await self._store.has_admin():
            return None
        raise StartupError(f"The admin cannot be named {username}: a user has that name.")

    async def add_user(self, username: str, password: str | None, role: UserRole) -> str | None:
        """A new account; the password, if one had to be made up.

        Raises RunnelError `invalid_request`, or `conflict` if the name is taken.
        """
        made_up = None if password else random_password()
        chosen = password or made_up or ""
        refuse_unfit(username, chosen)
        password_hash = await self._passwords.hash(chosen)
        if await self._store.add_user(username, password_hash, role, self._clock()) is None:
            raise taken()
        return made_up

    async def list_users(self) -> list[User]:
        """All accounts, the guest's too if it was ever used; the oldest first."""
        return await self._store.users()

    async def find(self, username: str) -> User:
        """The account of that name, in whatever case."""
        return (await self._named(username)).user

    async def disable(self, username: str) -> None:
        """Keeps the user out and revokes its logins. Raises `conflict` for the last admin."""
        account = await self._named(username)
        await self._store.disable_user(account.user.id, self._clock())

    async def enable(self, username: str) -> None:
        """Lets the user in again; its API keys are valid again, its old logins are not."""
        account = await self._named(username)
        await self._store.enable_user(account.user.id)

    async def set_password(self, username: str, password: str | None) -> str:
        """The password that the user has from now on, made up if none is given.

        Ends all the user's logins, enables nothing. Raises `invalid_request`, `forbidden` for
        the guest, `conflict` if it was changed meanwhile.
        """
        account = await self._person(username)
        chosen = password or random_password()
        refuse_weak(account.user.username, chosen)
        password_hash = await self._passwords.hash(chosen)
        if not await self._store.change_password(account, password_hash, self._clock()):
            raise _meanwhile()
        return chosen

    async def issue_token(self, username: str) -> str:
        """An access token that cannot be refreshed, of a login of its own.

        Raises `forbidden` for the guest, `conflict` for who is disabled.
        """
        account = await self._person(username)
        if account.user.disabled_at is not None:
            raise RunnelError(Code.CONFLICT, f"The user {account.user.username} is disabled.")
        token = await self._logins.open_once(account)
        if token is None:
            raise _meanwhile()
        return token

    async def _person(self, username: str) -> Account:
        account = await self._named(username)
        if names.is_guest(account.user.username):
            raise RunnelError(Code.FORBIDDEN, "The guest has neither password nor token.")
        return account

    async def _named(self, username: str) -> Account:
        account = None
        if names.may_exist(username):
            account = await self._store.account_named(username)
        if account is None:
            raise RunnelError(Code.NOT_FOUND, "There is no user of that name.")
        return account


def _meanwhile() -> RunnelError:
    return RunnelError(Code.CONFLICT, "The account was changed meanwhile. Try again.")
