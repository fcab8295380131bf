"""What the use cases of sessions need of the store."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from runnel.chat.entities import SessionRef
from runnel.chat.sessions.changes import Changes, NewSession, ReactionChanges
from runnel.chat.sessions.entities import Reactions, Session, SessionStatus, StoredMessage
from runnel.chat.sessions.searching import Query


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions of a user; None: any. `query`: those in which it finds something."""

    status: SessionStatus | None = None
    project_id: str | None = None
    query: Query | None = None


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Which messages of a session, and how many at most: of the active branch from its root, or,
    as a `tree`, of all branches, each behind the one that it answers.
    """

    limit: int
    cursor: str | None = None
    tree: bool = False


class SessionStore(Protocol):
    """A user's own sessions: what is another's, hidden or gone is None, like what never was.

    Every call is one short transaction. Raises RunnelError `store_unavailable`.
    """

    async def create(self, user_id: str, new: NewSession) -> Session:
        """Raises RunnelError `conflict` if the user has a session of that name."""
        ...

    async def get(self, user_id: str, ref: SessionRef) -> Session | None: ...

    async def page(
        self, user_id: str, wanted: Wanted, cursor: str | None, limit: int
    ) -> tuple[Sequence[Session], str | None]:
        """Newest activity first, and the cursor of the next page. What a query has found is with
        each session.

        Raises RunnelError `invalid_request` for a cursor that is none.
        """
        ...

    async def change(self, user_id: str, ref: SessionRef, changes: Changes) -> Session | None:
        """What is closed again stays closed since when it was; what is opened has become active."""
        ...

    async def messages(
        self, user_id: str, ref: SessionRef, page: MessagePage
    ) -> tuple[Sequence[StoredMessage], str | None] | None:
        """A page may be shorter than its limit where texts are long.

        Raises RunnelError `invalid_request` for a cursor that is none.
        """
        ...

    async def choose_branch(self, user_id: str, ref: SessionRef, message_id: str) -> Session | None:
        """Makes the branch of the newest leaf at or below a message the active one.

        Raises RunnelError `not_found` for a message that is not the session's.
        """
        ...

    async def react(
        self, user_id: str, ref: SessionRef, message_id: str, changes: ReactionChanges
    ) -> Reactions | None:
        """Changes the reactions to an answer, and says what there is then.

        Raises RunnelError `not_found`, or `conflict` for what is no answer.
        """
        ...

    async def last_generation(self, user_id: str, ref: SessionRef) -> str | None:
        """The id of the newest generation in a session."""
        ...
