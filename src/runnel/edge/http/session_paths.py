"""Sessions in paths, by their ids or their names."""

from runnel.accounts.entities import Identity
from runnel.chat.entities import SessionRef
from runnel.chat.sessions.refs import session_ref, unknown_session
from runnel.errors import RunnelError


def named(text: str, caller: Identity) -> SessionRef:
    """Raises RunnelError `not_found` for what no session can be called."""
    try:
        return session_ref(text, caller.username)
    except RunnelError:
        raise unknown_session() from None
