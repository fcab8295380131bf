"""What instances tell each other, whoever is connected, and what carries it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AbortAsked:
    """Whoever makes this answer is to abort it; its row says so too."""

    generation_id: str
    by: str


@dataclass(frozen=True, slots=True)
class AbortAllAsked:
    """The same for all that is made for a user, or in a session."""

    user_id: str | None
    session_id: str | None
    by: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An answer has ended; its row says how."""

    generation_id: str


@dataclass(frozen=True, slots=True)
class HandedBack:
    """Answers were given back by an instance that leaves: anybody may take them over."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer needs no reader any more."""

    generation_id: str


@dataclass(frozen=True, slots=True)
class Revoked:
    """A login, a key or a user does not hold any more; the store says which."""


Order = AbortAsked | AbortAllAsked | Ended | HandedBack | Kept | Revoked
HearOrder = Callable[[Order], None]


class Orders(Protocol):
    """Carries orders to all instances, the own one at once. It may lose some, or tell one twice."""

    def publish(self, order: Order) -> None:
        """Returns at once, and never raises."""
        ...

    def hearing(self, hear: HearOrder) -> AbstractContextManager[None]:
        """Inside, `hear` is given every order. It must neither block nor raise."""
        ...
