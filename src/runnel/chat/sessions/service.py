"""The use cases of sessions: made, listed, set, closed, read, branched. Doors call nothing else."""

from collections.abc import Sequence
from typing import TypeVar

from runnel.chat.entities import Generation, SessionRef
from runnel.chat.model_ports import Catalog
from runnel.chat.service import ChatService
from runnel.chat.sessions import refs
from runnel.chat.sessions.changes import Changes, NewSession, ReactionChanges
from runnel.chat.sessions.entities import Reactions, Session, StoredMessage
from runnel.chat.sessions.ports import MessagePage, SessionStore, Wanted
from runnel.errors import Code, RunnelError

_T = TypeVar("_T")


class Sessions:
    """A user's own sessions. Raises RunnelError: `not_found` for unknown and foreign alike,
    `store_unavailable`, and what each method names.
    """

    def __init__(self, store: SessionStore, chat: ChatService, catalog: Catalog) -> None:
        self._store = store
        self._chat = chat
        self._catalog = catalog

    async def create(self, user_id: str, new: NewSession) -> Session:
        """Raises `conflict` if the user has a session of that name, `unknown_model`."""
        if new.settings.model_preference is not None:
            self._check_model(new.settings.model_preference)
        return await self._store.create(user_id, new)

    async def get(self, user_id: str, ref: SessionRef) -> Session:
        return _known(await self._store.get(user_id, ref))

    async def page(
        self, user_id: str, wanted: Wanted, cursor: str | None, limit: int
    ) -> tuple[Sequence[Session], str | None]:
        """Newest activity first, and the cursor of the next page. Raises `invalid_request`."""
        return await self._store.page(user_id, wanted, cursor, limit)

    async def change(self, user_id: str, ref: SessionRef, changes: Changes) -> Session:
        """The session as it is then. Raises `unknown_model`."""
        if isinstance(changes.model_preference, str):
            self._check_model(changes.model_preference)
        changed = _known(await self._store.change(user_id, ref, changes))
        if changes.closed is not True or changed.running_generation_id is None:
            return changed
        # No question comes behind it any more.
        await self._chat.abort(user_id, changed.running_generation_id)
        return await self.get(user_id, SessionRef(id=changed.id))

    async def close(self, user_id: str, ref: SessionRef) -> Session:
        """Takes no more questions, and aborts what runs, keeping its text."""
        return await self.change(user_id, ref, Changes(closed=True))

    async def messages(
        self, user_id: str, ref: SessionRef, page: MessagePage
    ) -> tuple[Sequence[StoredMessage], str | None]:
        """A page of messages, and the cursor of the next. Raises `invalid_request`."""
        return _known(await self._store.messages(user_id, ref, page))

    async def choose_branch(self, user_id: str, ref: SessionRef, message_id: str) -> Session:
        """Makes the branch of the newest leaf at or below a message the active one."""
        leaf = refs.message_id(message_id)
        return _known(await self._store.choose_branch(user_id, ref, leaf))

    async def react(
        self, user_id: str, ref: SessionRef, message_id: str, changes: ReactionChanges
    ) -> Reactions:
        """What there is of an answer's reactions then. Raises `conflict` for what is no answer."""
        answer = refs.message_id(message_id)
        return _known(await self._store.react(user_id, ref, answer, changes))

    async def abort(self, user_id: str, ref: SessionRef) -> Generation | None:
        """Stops what is being made in a session; what has become of its last answer, if it has
        any.
        """
        session = await self.get(user_id, ref)
        last = session.running_generation_id
        if last is None:  # it may have been asked meanwhile
            last = await self._store.last_generation(user_id, SessionRef(id=session.id))
        return None if last is None else await self._chat.abort(user_id, last)

    def _check_model(self, name: str) -> None:
        """Raises RunnelError `unknown_model`. One that is away now may well come back."""
        try:
            self._catalog.candidates(name)
        except RunnelError as error:
            if error.code is Code.UNKNOWN_MODEL:
                field = "settings.model_preference"
                raise RunnelError(error.code, error.message, field=field) from None


def _known(found: _T | None) -> _T:
    if found is None:
        raise refs.unknown_session()
    return found
