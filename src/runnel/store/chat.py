"""The chat core's store over SQL: each call one short transaction."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict

from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from runnel.chat.entities import Ask, AskKey, Ending, Generation, ModelName, Status, Turn
from runnel.chat.model_ports import Model
from runnel.chat.ports import Begun, Checkpoint, Epoch, Seen
from runnel.errors import Code, RunnelError
from runnel.events import Usage
from runnel.store import generations, sessions, shown, tree, users
from runnel.store.engine import Database
from runnel.store.ids import new_id, now


class ChatStore:
    """Implements chat.ports.Store. A prompt sees at most `history_max_messages` messages."""

    def __init__(self, database: Database, *, history_max_messages: int) -> None:
        self._database = database
        self._history_max_messages = history_max_messages

    async def begin_ask(self, ask: Ask, model: Model, owner: str) -> Begun:
        try:
            return await self._begin_ask(ask, model, owner)
        except IntegrityError:
            # A constraint has refused what the look before it could not yet see.
            async with self._database.read() as connection:
                joined = ask.key and await _asked_before(connection, ask.user_id, ask.key)
                if joined:
                    return Begun(joined, ())
                session = await sessions.find(connection, ask.user_id, ask.session)
                running = session and await shown.live_in_session(connection, session.id)
            if running:
                raise _busy(running) from None
            raise RunnelError(
                Code.CONFLICT, "The account or the session went away meanwhile. Ask again."
            ) from None

    async def _begin_ask(self, ask: Ask, model: Model, owner: str) -> Begun:
        async with self._database.write() as connection:
            joined = ask.key and await _asked_before(connection, ask.user_id, ask.key)
            if joined:
                return Begun(joined, ())
            if not await users.enabled(connection, ask.user_id):
                # Who asks is found before the body is read, which may have taken long.
                raise RunnelError(Code.UNAUTHORIZED, "The account was disabled meanwhile.")
            session = await sessions.find_or_create(
                connection, ask.user_id, ask.session, hidden=ask.stateless
            )
            if session.leaf_id is not None:
                running = await shown.live_in_session(connection, session.id)
                if running is not None:
                    raise _busy(running)
                if ask.history is not None:
                    raise RunnelError(
                        Code.CONFLICT,
                        "This session has messages already: send `message` to go on with it.",
                        field="messages",
                    )
                leaf = await tree.place(connection, session.leaf_id)
                assert leaf is not None
                earlier = await sessions.branch(connection, leaf, self._history_max_messages)
            else:
                leaf, earlier = None, []
            asked = ask.turns
            # Who keeps the talk sends all of it with each question: of that the last is enough.
            kept = asked[-1:] if ask.stateless else asked
            time = now()
            turns = [*kept, Turn("assistant", "")]
            ids = await sessions.add_messages(connection, session, leaf, turns, time)
            generation = Generation(
                id=new_id(),
                user_id=ask.user_id,
                session_id=session.id,
                message_id=ids[-1],
                user_message_id=ids[-2],
                model=model.alias,
                provider=model.provider,
                provider_model=model.provider_model,
                status=Status.QUEUED,
                fence=1,
                created_at=time,
                session_name=session.name,
            )
            params = {} if ask.stateless else asdict(ask.params)
            await generations.add(connection, generation, owner, params, ask.key)
        return Begun(generation, [*earlier, *asked])

    async def asked_before(self, user_id: str, key: AskKey) -> Generation | None:
        async with self._database.read() as connection:
            return await _asked_before(connection, user_id, key)

    async def begin_epoch(self, generation_id: str, fence: int, prompt_tokens: int) -> Epoch:
        async with self._database.write() as connection:
            return await generations.begin_epoch(connection, generation_id, fence, prompt_tokens)

    async def name_model(
        self, generation_id: str, fence: int, model: ModelName, prompt_tokens: int
    ) -> None:
        async with self._database.write() as connection:
            await generations.name_model(connection, generation_id, fence, model, prompt_tokens)

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        async with self._database.write() as connection:
            await generations.checkpoint(connection, checkpoints)

    async def finish(self, generation_id: str, fence: int, ending: Ending) -> Generation | None:
        async with self._database.write() as connection:
            await generations.end(connection, generation_id, fence, ending)
            return await shown.get(connection, generation_id)

    async def interrupt_left_running(
        self, priced: Callable[[str, Usage], Usage]
    ) -> Sequence[Generation]:
        async with self._database.write() as connection:
            ids = await generations.interrupt_all_live(connection, priced)
            found = [await shown.get(connection, generation_id) for generation_id in ids]
        return [generation for generation in found if generation is not None]

    async def request_abort(self, user_id: str, generation_id: str) -> Seen | None:
        async with self._database.write() as connection:
            await generations.request_abort(connection, user_id, generation_id)
            return _only(await shown.see(connection, [generation_id], user_id))

    async def generation(self, user_id: str, generation_id: str) -> Generation | None:
        async with self._database.read() as connection:
            return await shown.get(connection, generation_id, user_id)

    async def generations(
        self, user_id: str, status: Status | None, cursor: str | None, limit: int
    ) -> tuple[Sequence[Generation], str | None]:
        async with self._database.read() as connection:
            return await shown.page(connection, user_id, status, cursor, limit)

    async def see(self, user_id: str, generation_id: str) -> Seen | None:
        async with self._database.read() as connection:
            return _only(await shown.see(connection, [generation_id], user_id))

    async def see_all(self, generation_ids: Collection[str]) -> Sequence[Seen]:
        async with self._database.read() as connection:
            return await shown.see(connection, generation_ids)

    async def ended(self, generation_id: str) -> Generation | None:
        async with self._database.read() as connection:
            found = await shown.get(connection, generation_id)
            return found if found and found.status.terminal else None


def _only(seen: Sequence[Seen]) -> Seen | None:
    return seen[0] if seen else None


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
