"""What a question stands on: the branch before it, and where its messages grow in the tree."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Ask, Turn
from runnel.chat.sessions.refs import unknown_message
from runnel.errors import Code, RunnelError
from runnel.store import attachments, sessions, tree

_ANSWER = Turn("assistant", "")


@dataclass(frozen=True, slots=True)
class Ground:
    """`turns` is all that the model is to see, the question last; `grows` what is new of it, and
    the empty answer, below `parent`. `question_id` is that of a question which is there already.
    So many older messages lie `beyond` the turns.
    """

    turns: Sequence[Turn]
    parent: tree.Place | None
    grows: Sequence[Turn]
    question_id: str | None = None
    beyond: int = 0

    @property
    def question(self) -> Turn:
        return self.turns[-1]


async def ground(
    connection: AsyncConnection, session: sessions.FoundSession, ask: Ask, most: int
) -> Ground:
    """Raises RunnelError: `not_found` for a message that is not the session's, `conflict`."""
    if ask.regenerates is not None:
        return await _again(connection, session, ask.regenerates, most)
    if ask.edits is not None:
        return await _instead(connection, session, ask, ask.edits, most)
    if session.leaf_id is not None and ask.history is not None:
        raise RunnelError(
            Code.CONFLICT,
            "This session has messages already: send `message` to go on with it.",
            field="messages",
        )
    leaf = session.leaf_id and await tree.place(connection, session.leaf_id)
    earlier = await sessions.branch(connection, leaf, most) if leaf else sessions.Branch()
    named = ask.attachments or ()
    given = await attachments.asked_with(connection, ask.user_id, session.id, named)
    question = replace(ask.question, attachments=tuple(given)) if given else ask.question
    asked = [*(ask.history or ()), question]
    # Who keeps the talk sends all of it with each question: of that the last is enough.
    kept = asked[-1:] if ask.stateless else asked
    return Ground([*earlier.turns, *asked], leaf or None, [*kept, _ANSWER], beyond=earlier.beyond)


async def _again(
    connection: AsyncConnection, session: sessions.FoundSession, message_id: str, most: int
) -> Ground:
    question = await _place(connection, session, message_id)
    if question.role == "assistant" and question.parent_id is not None:
        question = await _place(connection, session, question.parent_id)
    if question.role != "user":
        raise RunnelError(Code.CONFLICT, "This message answers no question.")
    if question.empty:  # of a history that a client brought
        raise RunnelError(Code.CONFLICT, "The question is empty; it can be edited.")
    branch = await sessions.branch(connection, question, most)
    return Ground(branch.turns, question, [_ANSWER], question.id, branch.beyond)


async def _instead(
    connection: AsyncConnection,
    session: sessions.FoundSession,
    ask: Ask,
    message_id: str,
    most: int,
) -> Ground:
    edited = await _place(connection, session, message_id)
    if edited.role != "user":
        raise RunnelError(
            Code.CONFLICT, "Only questions can be edited; an answer can be regenerated."
        )
    parent = edited.parent_id and await tree.place(connection, edited.parent_id)
    earlier = await sessions.branch(connection, parent, most) if parent else sessions.Branch()
    if ask.attachments is None:
        given = (await attachments.of_messages(connection, [edited.id])).get(edited.id, [])
    else:
        given = await attachments.asked_with(connection, ask.user_id, session.id, ask.attachments)
    question = replace(ask.question, attachments=tuple(given))
    return Ground(
        [*earlier.turns, question], parent or None, [question, _ANSWER], beyond=earlier.beyond
    )


async def _place(
    connection: AsyncConnection, session: sessions.FoundSession, message_id: str
) -> tree.Place:
    found = await tree.place(connection, message_id)
    if found is None or found.session_id != session.id:
        raise unknown_message()
    return found
