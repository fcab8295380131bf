"""Where imported messages stand in their tree: stems and depths, made anew from their parents."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from runnel.chat.sessions.records import MessageRecord
from runnel.errors import Code, RunnelError
from runnel.store.tables import MessageRow

_CHILD: Final = aliased(MessageRow, name="child")


@dataclass(slots=True)
class _Spot:
    """Where a message stands, and whether its stem goes on behind it."""

    stem_id: str
    depth: int
    continued: bool


class Tree:
    """Puts messages in their places; knows only of those that they hang on."""

    def __init__(self, known: dict[str, _Spot]) -> None:
        self._known = known

    def grown(self, message: MessageRecord) -> dict[str, Any]:
        """The row of a message, whose stem is its parent's unless that goes on already."""
        parent = None if message.parent_id is None else self._spot(message, message.parent_id)
        if message.generation is not None:
            self._spot(message, message.generation.user_message_id)
        if parent is None or parent.continued:
            stem_id = message.message_id
        else:
            stem_id = parent.stem_id
            parent.continued = True
        depth = 0 if parent is None else parent.depth + 1
        self._known[message.message_id] = _Spot(stem_id, depth, continued=False)
        return {
            "id": message.message_id,
            "session_id": message.session_id,
            "parent_id": message.parent_id,
            "role": message.role,
            "content": message.content,
            "created_at": message.timestamp,
            "stem_id": stem_id,
            "depth": depth,
            "helpful": message.reactions.helpful,
            "rating": message.reactions.rating,
        }

    def _spot(self, message: MessageRecord, wanted: str) -> _Spot:
        found = self._known.get(wanted)
        if found is None:
            raise RunnelError(
                Code.INVALID_REQUEST,
                f"message {message.message_id}: {wanted} is no message of its session before it",
            )
        return found


async def tree_above(connection: AsyncConnection, messages: Sequence[MessageRecord]) -> Tree:
    """What these messages hang on, of what is there already."""
    wanted = {each.parent_id for each in messages if each.parent_id is not None}
    wanted |= {each.generation.user_message_id for each in messages if each.generation}
    goes_on = exists().where(
        _CHILD.stem_id == MessageRow.stem_id, _CHILD.depth == MessageRow.depth + 1
    )
    rows = await connection.execute(
        select(
            MessageRow.id, MessageRow.stem_id, MessageRow.depth, goes_on.label("continued")
        ).where(MessageRow.id.in_(wanted), MessageRow.session_id == messages[0].session_id)
    )
    return Tree({row.id: _Spot(row.stem_id, row.depth, row.continued) for row in rows})
