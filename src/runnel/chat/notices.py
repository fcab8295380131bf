"""What the connections of one user are told of each other, and the bus that carries it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, Self

from runnel.chat.entities import Ask, Generation


@dataclass(frozen=True, slots=True)
class Asked:
    """A question was written down, and its answer is being made, or was.

    `key` is the one that the client asked with. `origin` and `whole` are those of the ask.
    """

    user_id: str
    session_id: str
    session_name: str | None
    generation_id: str
    message_id: str
    user_message_id: str
    question: str
    asked_at: datetime
    key: str | None = None
    origin: str | None = None
    whole: bool = False

    @classmethod
    def of(
        cls, generation: Generation, ask: Ask | None = None, question: str | None = None
    ) -> Self:
        """Without `ask`, for what is told of an answer whose question is not.

        `question` is given where it was asked before, and is answered once more.
        """
        if question is None:
            question = ask.text if ask else ""
        return cls(
            user_id=generation.user_id,
            session_id=generation.session_id,
            session_name=generation.session_name,
            generation_id=generation.id,
            message_id=generation.message_id,
            user_message_id=generation.user_message_id,
            question=question,
            asked_at=generation.created_at,
            key=ask.key.text if ask and ask.key else None,
            origin=ask and ask.origin,
            whole=ask is not None and shown_whole(ask, generation),
        )


def shown_whole(ask: Ask, generation: Generation) -> bool:
    """Whether an answer is shown when it has ended: as was asked, else as its session is set."""
    return not generation.stream_responses if ask.whole is None else ask.whole


@dataclass(frozen=True, slots=True)
class Typing:
    """Somebody types in a session at the connection `origin`, or has stopped."""

    user_id: str
    session_id: str
    origin: str
    active: bool


@dataclass(frozen=True, slots=True)
class Gone:
    """A session was purged."""

    user_id: str
    session_id: str


Notice = Asked | Typing | Gone
Hear = Callable[[Notice], None]


class Bus(Protocol):
    """Carries notices to all who hear of their user, on any instance. It may lose some."""

    def publish(self, notice: Notice) -> None:
        """Returns at once, and never raises."""
        ...

    def hearing(self, user_id: str, hear: Hear) -> AbstractContextManager[None]:
        """Inside, `hear` is given what is published of a user. It must neither block nor raise."""
        ...
