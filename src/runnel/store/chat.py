"""The chat core's store over SQL: each call one short transaction."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy.exc import IntegrityError

from runnel.chat.entities import Ask, Ending, Generation, Status, Turn
from runnel.chat.ports import Begun, Checkpoint, Model
from runnel.errors import Code, RunnelError
from runnel.store import generations, sessions
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
            # The constraint has refused what the look before it could not yet see.
            async with self._database.read() as connection:
                session = await sessions.find(connection, ask.user_id, ask.session)
                running = session and await generations.live_in_session(connection, session.id)
            if running:
                raise _busy(running) from None
            raise RunnelError(
                Code.CONFLICT, "The account or the session went away meanwhile. Ask again."
            ) from None

    async def _begin_ask(self, ask: Ask, model: Model, owner: str) -> Begun:
        async with self._database.write() as connection:
            session = await sessions.find_or_create(connection, ask.user_id, ask.session)
            if session.leaf_id is not None:
                running = await generations.live_in_session(connection, session.id)
                if running is not None:
                    raise _busy(running)
                if ask.history is not None:
                    raise RunnelError(
                        Code.CONFLICT,
                        "This session has messages already: send `message` to go on with it.",
                        field="messages",
                    )
                earlier = await sessions.branch(
                    connection, session.leaf_id, self._history_max_messages
                )
            else:
                earlier = []
            asked = [*(ask.history or ()), Turn("user", ask.text)]
            ids = await sessions.add_messages(connection, session, [*asked, Turn("assistant", "")])
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
                created_at=now(),
            )
            await generations.add(connection, generation, owner, asdict(ask.params))
        return Begun(generation, [*earlier, *asked])

    async def begin_epoch(self, generation_id: str, fence: int, prompt_tokens: int) -> int:
        async with self._database.write() as connection:
            return await generations.begin_epoch(connection, generation_id, fence, prompt_tokens)

    async def checkpoint(self, checkpoints: Sequence[Checkpoint]) -> None:
        async with self._database.write() as connection:
            await generations.checkpoint(connection, checkpoints)

    async def finish(self, generation_id: str, fence: int, ending: Ending) -> Generation | None:
        async with self._database.write() as connection:
            await generations.end(connection, generation_id, fence, ending)
            return await generations.get(connection, generation_id)

    async def interrupt_left_running(self) -> int:
        async with self._database.write() as connection:
            return await generations.interrupt_all_live(connection)

    async def generation(self, user_id: str, generation_id: str) -> Generation | None:
        async with self._database.read() as connection:
            return await generations.get(connection, generation_id, user_id)


def _busy(running: str) -> RunnelError:
    return RunnelError(
        Code.BUSY,
        "This session is being answered. Follow that answer or abort it, then ask again.",
        retry_after=1,
        facts={"generation_id": running},
    )
