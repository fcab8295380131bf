"""Where a connection is: what its path leads to, for whoever has signed in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from runnel.accounts.connections import ChannelKind
from runnel.accounts.entities import Identity
from runnel.chat.entities import SessionRef
from runnel.chat.sessions.refs import session_ref
from runnel.edge.dialects.completions import CompletionsDialect
from runnel.edge.dialects.session_channel import SessionDialect
from runnel.edge.dialects.sockets import SocketDialect, invalid
from runnel.edge.dialects.user_channel import UserDialect
from runnel.errors import Code, RunnelError

#: `/ws/chat/completions`, `/ws/users/{name}`, `/ws/{name}`, and whatever else begins so.
PathKind = Literal["completions", "users", "bare", "unknown"]


@dataclass(frozen=True, slots=True)
class Place:
    """`session` is that of a session's channel, as the client named it."""

    kind: ChannelKind
    dialect: SocketDialect
    session: SessionRef | None = None


def place_of(path: PathKind, name: str, identity: Identity, query: Mapping[str, str]) -> Place:
    """Raises RunnelError `not_found` where there is nothing for that user, and `invalid_request`
    for a query that the place does not know what to do with.
    """
    place = _place_of(path, name, identity)
    match query.get("chunks"):
        case None:
            return place
        case "true" | "false" as chunks if place.kind == "session":
            return replace(place, dialect=SessionDialect(chunks=chunks == "true"))
        case "true" | "false":
            raise invalid("chunks", "is of the channel of a session")
        case _:
            raise invalid("chunks", "is true or false")


def _place_of(path: PathKind, name: str, identity: Identity) -> Place:
    match path:
        case "completions":
            return Place("completions", CompletionsDialect())
        case "users" | "bare" if _is_own(name, identity):
            return Place("user", UserDialect())
        case "bare":
            try:
                ref = session_ref(name, identity.username)
            except RunnelError as error:
                raise RunnelError(Code.NOT_FOUND, error.message) from None
            return Place("session", SessionDialect(), ref)
        case _:
            raise RunnelError(Code.NOT_FOUND, "There is nothing here.")


def _is_own(name: str, identity: Identity) -> bool:
    return name == "me" or name.lower() in (identity.user_id, identity.username.lower())
