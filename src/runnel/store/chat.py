"""The chat core's store over SQL: each call one short transaction."""

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.choosing import Choose, Found
from runnel.chat.entities import (
    Ask,
    AskKey,
    Ending,
    Fitted,
    Generation,
    ModelName,
    SessionRef,
    Status,
)
from runnel.chat.model_ports import Model
from runnel.chat.ports import Begun, Checkpoint, Epoch, Joined, Seen
from runnel.chat.sessions.refs import unknown_session
from runnel.errors import Code, RunnelError
from runnel.events import Usage
from runnel.store import (
    attachments,
    generations,
    indexing,
    leases,
    sessions,
    shown,
    titles,
    tree,
    users,
)
from runnel.store.engine import Database
from runnel.store.ground import ground
from runnel.store.ids import new_id, now
from runnel.store.indexing import Indexing
from runnel.store.tables import GenerationRow

#: Checkpoints that take a millisecond or two are written by the loop: a thread takes it longer.
_FEW_CHECKPOINTS: Final = 64


class ChatStore:
    """Implements chat.ports.Store. A prompt sees at most `history_max_messages` messages.

    `lease_seconds`: None where there are no other instances.
    """

    def __init__(
        self,
        database: Database,
        indexing: Indexing,
        *,
        history_max_messages: int,
        lease_seconds: float | None = None,
    ) -> None:
        self._database = database
        self._indexing = indexing
        self._lease_seconds = lease_seconds
        self._history_max_messages = history_max_messages

    async def begin_ask(self, ask: Ask, choose: Choose, owner: str) -> Begun | Joined:
        try:
            return await self._begin_ask(ask, choose, owner)
        except IntegrityError:
            # A constraint has refused what the look before it could not yet see.
            async with self._database.read() as connection:
                joined = ask.key and await _asked_before(connection, ask.user_id, ask.key)
                if joined:
                    return Joined(joined)
                session = await sessions.find(connection, ask.user_id, ask.session)
                running = session and await shown.live_in_session(connection, session.id)
            if running:
                raise _busy(running) from None
            raise RunnelError(
                Code.CONFLICT, "The account or the session went away meanwhile. Ask again."
            ) from None

    async def _begin_ask(self, ask: Ask, choose: Choose, owner: str) -> Begun | Joined:
        characters = sum(len(turn.text) for turn in ask.turns)
        async with self._database.write_briefly(characters) as connection:
            joined = ask.key and await _asked_before(connection, ask.user_id, ask.key)
            if joined:
                return Joined(joined)
            await users.admit(connection, ask.user_id)
            session = await _session(connection, ask)
            if session.leaf_id is not None:
                # The same question may have come in while this one waited for the session.
                joined = ask.key and await _asked_before(connection, ask.user_id, ask.key)
                if joined:
                    return Joined(joined)
                running = await shown.live_in_session(connection, session.id)
                if running is not None:
                    raise _busy(running)
            stands = await ground(connection, session, ask, self._history_max_messages)
            given = stands.question.attachments
            generation_id = new_id()
            chosen = choose(Found(generation_id, session.settings, stands.turns, stands.beyond))
            time = now()
            grows = {new_id(): turn for turn in stands.grows}
            ids = [*grows]
            said = {} if ask.stateless else indexing.said(grows)
            title = None if session.titled or ask.stateless else titles.called_by(stands.grows)
            if session.new:
                await sessions.add(
                    connection,
                    ask.user_id,
                    session,
                    ask.client,
                    time,
                    leaf_id=ids[-1],
                    title=title,
                    hidden=ask.stateless,
                )
                if title is not None:
                    said[None] = title
            await tree.grow(connection, session.id, stands.parent, grows, time)
            if not session.new:
                await sessions.go_on(connection, session, ids[-1], time)
                if title is not None:
                    await titles.call(connection, ask.user_id, session.id, title)
            await indexing.mark(connection, ask.user_id, session.id, said)
            if stands.question_id is None:
                await attachments.use(connection, session.id, ids[-2], [each.id for each in given])
            generation = _queued(
                ask,
                session,
                chosen.model,
                generation_id=generation_id,
                message_id=ids[-1],
                user_message_id=stands.question_id or ids[-2],
                time=time,
            )
            epoch = await generations.add(
                connection, generation, ask, owner, self._lease_seconds, prompt=chosen.fitted
            )
        self._indexing.tell()
        return Begun(generation, stands.turns, session.settings, chosen, stands.beyond, epoch)

    async def asked_before(self, user_id: str, key: AskKey) -> Generation | None:
        async with self._database.read_briefly() as connection:
            return await _asked_before(connection, user_id, key)

    async def begin_epoch(self, generation_id: str, fence: int, prompt: Fitted) -> Epoch:
        async with self._database.write_briefly() as connection:
            return await generations.begin_epoch(connection, generation_id, fence, prompt)

    async def name_model(
        self, generation_id: str, fence: int, model: ModelName, prompt: Fitted
    ) -> None:
        async with self._database.write() as connection:
            await generations.name_model(connection, generation_id, fence, model, prompt)

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        few = len(checkpoints) <= _FEW_CHECKPOINTS
        characters = sum(len(each.text) for each in checkpoints)
        write = self._database.write_briefly(characters) if few else self._database.write()
        async with write as connection:
            await generations.checkpoint(connection, checkpoints)

    async def hand_back(self, generation_id: str, fence: int, unsaved: Checkpoint | None) -> None:
        async with self._database.write() as connection:
            if unsaved is not None:
                await generations.checkpoint(connection, [unsaved])
            await leases.hand_back(connection, generation_id, fence)

    async def finish(self, generation_id: str, fence: int, ending: Ending) -> Generation | None:
        async with self._database.write_briefly(len(ending.text)) as connection:
            ended = await _end(connection, generation_id, fence, ending)
        self._indexing.tell()
        return ended

    async def interrupt_left_running(
        self, priced: Callable[[str, Usage], Usage]
    ) -> Sequence[Generation]:
        async with self._database.write() as connection:
            ended: list[Generation] = []
            for left in await generations.left_live(connection, priced):
                generation = await _end(connection, left.id, left.fence, left.ending)
                if generation is not None:
                    ended.append(generation)
        self._indexing.tell()
        return ended

    async def request_abort(self, user_id: str, generation_id: str, by: str) -> Seen | None:
        which = (GenerationRow.id == generation_id, GenerationRow.user_id == user_id)
        async with self._database.write() as connection:
            await generations.request_abort(connection, by, *which)
            return await shown.see(connection, user_id, generation_id)

    async def request_aborts(
        self, by: str, *, user_id: str | None = None, session_id: str | None = None
    ) -> Collection[str]:
        which = (
            GenerationRow.user_id == user_id
            if session_id is None
            else GenerationRow.session_id == session_id
        )
        async with self._database.write() as connection:
            await generations.request_abort(connection, by, which)
            return await generations.live(connection, which)

    async def keep(self, generation_id: str) -> None:
        async with self._database.write() as connection:
            await generations.keep(connection, generation_id)

    async def generation(self, user_id: str, generation_id: str) -> Generation | None:
        async with self._database.read_briefly() as connection:
            return await shown.get(connection, generation_id, user_id)

    async def generations(
        self, user_id: str, status: Status | None, cursor: str | None, limit: int
    ) -> tuple[Sequence[Generation], str | None]:
        async with self._database.read() as connection:
            return await shown.page(connection, user_id, status, cursor, limit)

    async def see(self, user_id: str, generation_id: str) -> Seen | None:
        async with self._database.read_briefly() as connection:
            return await shown.see(connection, user_id, generation_id)

    async def see_all(self, generation_ids: Collection[str]) -> Sequence[Seen]:
        async with self._database.read() as connection:
            return await shown.see_all(connection, generation_ids)

    async def ended(self, generation_id: str) -> Generation | None:
        async with self._database.read_briefly() as connection:
            found = await shown.get(connection, generation_id)
            return found if found and found.status.terminal else None


async def _end(
    connection: AsyncConnection, generation_id: str, fence: int, ending: Ending
) -> Generation | None:
    """Ends a generation, unless it has ended; as it is then. None if it is gone."""
    ended = await generations.end(connection, generation_id, fence, ending)
    if ended is None:
        return await shown.get(connection, generation_id)
    generation, hidden = ended
    if ending.text and not hidden:
        said: dict[str | None, str] = {generation.message_id: ending.text}
        await indexing.mark(connection, generation.user_id, generation.session_id, said)
    return generation


async def _session(connection: AsyncConnection, ask: Ask) -> sessions.FoundSession:
    """The session of a question. Raises RunnelError `not_found`, `session_closed`."""
    if ask.regenerates is None and ask.edits is None:
        if ask.session == SessionRef():
            return sessions.FoundSession(new_id(), None, None, new=True)
        session = await sessions.find_or_create(connection, ask.user_id, ask.session, ask.client)
    else:
        found = await sessions.find(connection, ask.user_id, ask.session, lock=True)
        if found is None:
            raise unknown_session()
        session = found
    if session.closed:
        raise RunnelError(
            Code.SESSION_CLOSED,
            'This session is closed. `PATCH {"status": "active"}` opens it again.',
        )
    return session


def _queued(
    ask: Ask,
    session: sessions.FoundSession,
    model: Model,
    *,
    generation_id: str,
    message_id: str,
    user_message_id: str,
    time: datetime,
) -> Generation:
    """As whoever asks is told of it, though the row may say already that it is being made."""
    return Generation(
        id=generation_id,
        user_id=ask.user_id,
        session_id=session.id,
        message_id=message_id,
        user_message_id=user_message_id,
        model=model.alias,
        provider=model.provider,
        provider_model=model.provider_model,
        status=Status.QUEUED,
        fence=1,
        created_at=time,
        session_name=session.name,
        stream_responses=session.settings.stream_responses,
        needs_reader=ask.needs_reader,
    )


async def _asked_before(
    connection: AsyncConnection, user_id: str, key: AskKey
) -> Generation | None:
    since = now() - generations.KEY_LIFE
    found = await shown.asked_with(connection, user_id, key.text, since)
    if found is None:
        return None
    generation_id, fingerprint = found
    asked = await shown.get(connection, generation_id)
    if asked is not None and not (
        fingerprint == key.fingerprint and key.is_of(asked.session_id, asked.session_name)
    ):
        raise RunnelError(
            Code.IDEMPOTENCY_CONFLICT,
            "This key was used for another question. Take a new key for each question.",
        )
    return asked


def _busy(running: str) -> RunnelError:
    return RunnelError(
        Code.BUSY,
        "This session is being answered. Follow that answer or abort it, then ask again.",
        retry_after=1,
        facts={"generation_id": running},
    )
