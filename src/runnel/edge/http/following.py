"""What every way of following an answer over HTTP shares."""

from contextlib import ExitStack

from runnel.accounts.entities import Identity
from runnel.chat.following import Follower
from runnel.edge.parts import Parts


def held(parts: Parts, caller: Identity, follower: Follower, *, linger: float = 0.0) -> ExitStack:
    """Detaches at its end; until then the reading ends as soon as the caller may not read."""
    stack = ExitStack()
    stack.callback(follower.leave, linger_seconds=linger)
    stack.enter_context(parts.watch.holding(caller, follower.close))
    return stack
