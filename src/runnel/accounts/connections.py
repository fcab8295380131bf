"""Who is connected by WebSocket, as all instances together know it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

ChannelKind = Literal["completions", "session", "user"]


@dataclass(frozen=True, slots=True)
class Connected:
    """One connection. `session_id` is told of a session's channel, once it has joined that."""

    id: str
    user_id: str
    username: str
    channel: ChannelKind
    session_id: str | None
    address: str | None
    user_agent: str | None
    connected_at: datetime


class Connections(Protocol):
    """The register of connections."""

    async def enter(self, connected: Connected, *, most_of_user: int) -> bool:
        """Registers one; False if its user has so many already."""
        ...

    async def locate(self, connection_id: str, session_id: str) -> None:
        """It has joined a session's channel."""
        ...

    async def leave(self, connection_id: str) -> None:
        """It is closed. What is not registered is passed over."""
        ...

    async def page(self, after: str | None, limit: int) -> Sequence[Connected]:
        """Connections by their ids, which rise with time, behind the id `after`."""
        ...
