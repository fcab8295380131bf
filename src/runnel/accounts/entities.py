"""Accounts and what proves them, as frozen values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

UserRole = Literal["user", "admin"]


@dataclass(frozen=True, slots=True)
class Identity:
    """Whoever a request is made for. `login_id` is the login's or the API key's id.

    Revoking that login, or disabling the user, ends what the identity holds open.
    `guest` is nobody in particular: all who come without credentials share that account.
    """

    user_id: str
    username: str
    role: UserRole
    login_id: str | None
    guest: bool = False


@dataclass(frozen=True, slots=True)
class User:
    """An account as its owner and the admins see it."""

    id: str
    username: str
    role: UserRole
    created_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class ListedUser:
    """An account in a list; `last_login_at` is when its newest login was opened."""

    user: User
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A long-lived key without its secret; `prefix` is how its text begins."""

    id: str
    name: str
    prefix: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A fresh access token, its life in seconds, and the refresh token that follows it."""

    access_token: str
    expires_in: int
    refresh_token: str
