"""Queries of a session's tree of messages: a branch by its stems, and how a tree grows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import CTE, BindParameter, bindparam, exists, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.orm import aliased

from runnel.chat.entities import Turn
from runnel.store.statements import Statement
from runnel.store.tables import MessageRow

_HEAD: Final = aliased(MessageRow, name="head")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands in its tree, whether its stem goes on behind it, and whether it says
    nothing.
    """

    id: str
    session_id: str
    parent_id: str | None
    role: str
    stem_id: str
    depth: int
    continued: bool
    empty: bool


_CHILD: Final = aliased(MessageRow, name="child")
_PLACE: Final = Statement(
    select(
        MessageRow.id,
        MessageRow.session_id,
        MessageRow.parent_id,
        MessageRow.role,
        MessageRow.stem_id,
        MessageRow.depth,
        exists()
        .where(_CHILD.stem_id == MessageRow.stem_id, _CHILD.depth == MessageRow.depth + 1)
        .label("continued"),
        (MessageRow.content == "").label("empty"),
    ).where(MessageRow.id == bindparam("message_id"))
)


async def place(connection: AsyncConnection, message_id: str) -> Place | None:
    row = await _PLACE.first(connection, {"message_id": message_id})
    return None if row is None else Place(*row)


def stems(leaf_id: str | BindParameter[str], down_from: int | BindParameter[int] = 0) -> CTE:
    """The stems from a leaf up to its root, each with the `upto` depth that is of the branch.

    Those of which nothing is as deep as `down_from` are left out.
    """
    walk = (
        select(MessageRow.stem_id, MessageRow.depth.label("upto"), _HEAD.parent_id)
        .join(_HEAD, _HEAD.id == MessageRow.stem_id)
        .where(MessageRow.id == leaf_id)
        .cte("stems", recursive=True)
    )
    return walk.union_all(
        select(MessageRow.stem_id, MessageRow.depth, _HEAD.parent_id)
        .join(walk, MessageRow.id == walk.c.parent_id)
        .join(_HEAD, _HEAD.id == MessageRow.stem_id)
        .where(MessageRow.depth >= down_from)
    )


async def newest_leaf(connection: AsyncConnection, place: Place) -> str:
    """The newest leaf at or below a message: whatever was said last there."""
    below = select(MessageRow.id).where(MessageRow.id == place.id).cte("below", recursive=True)
    below = below.union_all(select(MessageRow.id).join(below, MessageRow.parent_id == below.c.id))
    leaves = ~exists().where(_CHILD.parent_id == below.c.id)
    # Ids begin with the time at which they were made, but not always by one clock.
    newest = await connection.scalar(select(func.max(below.c.id)).where(leaves))
    return newest or place.id


_GROW: Final = Statement(insert(MessageRow))


async def grow(
    connection: AsyncConnection,
    session_id: str,
    parent: Place | None,
    turns: Mapping[str, Turn],
    time: datetime,
) -> None:
    """Adds turns, by their new ids, one behind the other below a parent, or as another beginning."""
    ids = [*turns]
    goes_on = parent is not None and not parent.continued
    stem_id = parent.stem_id if parent is not None and goes_on else ids[0]
    first_depth = 0 if parent is None else parent.depth + 1
    parents = [parent and parent.id, *ids[:-1]]
    await _GROW.run(
        connection,
        *(
            {
                "id": message_id,
                "session_id": session_id,
                "parent_id": parent_id,
                "role": turn.role,
                "content": turn.text,
                "created_at": time,
                "stem_id": stem_id,
                "depth": first_depth + number,
            }
            for number, (message_id, parent_id, turn) in enumerate(
                zip(ids, parents, turns.values(), strict=True)
            )
        ),
    )
