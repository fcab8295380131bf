"""The use cases of answers. Every door calls these, and no other part of the chat core."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from runnel.chat.entities import Ask, Generation, Turn
from runnel.chat.ports import Catalog, LogReader, Model, Store, StreamLog
from runnel.chat.producer import Bounds, Producer
from runnel.chat.prompt import fit
from runnel.chat.running import Running
from runnel.chat.text import clean
from runnel.errors import Code, RunnelError


@dataclass(frozen=True, slots=True)
class AskRules:
    """What holds for every question. `max_message_length` counts characters.

    `temperature` is for questions that name none; None leaves it to the model.
    """

    max_message_length: int
    history_max_tokens: int
    system_prompt: str | None
    temperature: float | None


class ChatService:
    """Ask, follow, look up, abort. `owner` is this instance's name in the store.

    `on_end` is told of every generation that ends here, as the store keeps it.
    """

    def __init__(
        self,
        *,
        owner: str,
        catalog: Catalog,
        store: Store,
        log: StreamLog,
        running: Running,
        rules: AskRules,
        bounds: Bounds,
        on_end: Callable[[Generation], None],
    ) -> None:
        self._owner = owner
        self._catalog = catalog
        self._store = store
        self._log = log
        self._running = running
        self._rules = rules
        self._bounds = bounds
        self._on_end = on_end

    async def ask(self, ask: Ask) -> Generation:
        """Writes the question down and starts its answer, which then needs nobody to listen.

        Raises RunnelError: `invalid_request`, `message_too_long`, `unknown_model`, `not_found`,
        `conflict`, `busy`, `overloaded`, `shutting_down`, `store_unavailable`.
        """
        self._running.refuse_if_closing()
        if self._log.full:
            raise RunnelError(
                Code.OVERLOADED,
                "Too many answers are being made. Ask again shortly.",
                retry_after=1,
            )
        ask = self._checked(ask)
        model = self._catalog.resolve(ask.model)
        # Whoever asked may leave at any moment; what was begun is carried through all the same.
        return await asyncio.shield(self._running.own(self._begin(ask, model)))

    def attach(self, generation_id: str) -> LogReader:
        """Begins to follow an answer from its first event. Close the reader to detach."""
        return self._log.read(generation_id)

    async def generation(self, user_id: str, generation_id: str) -> Generation:
        """A user's own generation. Raises RunnelError `not_found` for unknown and foreign alike."""
        found = await self._store.generation(user_id, generation_id)
        if found is None:
            raise RunnelError(Code.NOT_FOUND, "There is no such generation.")
        return found

    async def abort_all(self, user_id: str, by: str = "user") -> None:
        """Aborts whatever is being made for a user, keeping the text; waits until it has ended."""
        await self._running.abort(lambda generation: generation.user_id == user_id, by)

    async def check(self) -> None:
        """Raises RunnelError `shutting_down` once no more questions are taken."""
        self._running.refuse_if_closing()

    async def drain(self, grace_seconds: float) -> None:
        """Takes no more questions, gives what runs the grace, then interrupts it."""
        await self._running.drain(grace_seconds)

    def _checked(self, ask: Ask) -> Ask:
        text = clean(ask.text)
        if not text.strip():
            raise RunnelError(Code.INVALID_REQUEST, "The message is empty.", field="message")
        if len(text) > self._rules.max_message_length:
            raise RunnelError(
                Code.MESSAGE_TOO_LONG,
                f"The message has {len(text)} characters;"
                f" {self._rules.max_message_length} are allowed.",
            )
        history = ask.history and [Turn(turn.role, clean(turn.text)) for turn in ask.history]
        params = ask.params
        if params.temperature is None:
            params = replace(params, temperature=self._rules.temperature)
        return replace(ask, text=text, history=history, params=params)

    async def _begin(self, ask: Ask, model: Model) -> Generation:
        begun = await self._store.begin_ask(ask, model, self._owner)
        prompt = fit(
            begun.turns,
            system_prompt=self._rules.system_prompt,
            max_tokens=self._rules.history_max_tokens,
        )
        producer = Producer(
            begun.generation,
            model,
            prompt,
            ask.params,
            store=self._store,
            log=self._log,
            bounds=self._bounds,
            on_end=self._on_end,
        )
        self._running.start(producer)
        return begun.generation
