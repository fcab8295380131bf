"""The use cases of answers. Every door calls these, and no other part of the chat core."""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack

from runnel.chat.aborting import Aborting
from runnel.chat.checking import AskRules, checked
from runnel.chat.choosing import Chosen, Found
from runnel.chat.entities import Ask, Generation, Status
from runnel.chat.following import Follower, Followers
from runnel.chat.ids import may_be_id
from runnel.chat.making import Making
from runnel.chat.notices import Asked, Bus
from runnel.chat.ports import Joined, Observer, Seen, Store, StreamLog
from runnel.chat.running import END_WAIT_SECONDS, Running
from runnel.errors import Code, RunnelError
from runnel.events import Position


class ChatService:
    """Ask, follow, look up, abort. `owner` is this instance's name in the store."""

    def __init__(
        self,
        *,
        owner: str,
        making: Making,
        store: Store,
        log: StreamLog,
        running: Running,
        aborting: Aborting,
        followers: Followers,
        bus: Bus,
        rules: AskRules,
        observer: Observer,
    ) -> None:
        self._owner = owner
        self._making = making
        self._store = store
        self._log = log
        self._running = running
        self._aborting = aborting
        self._followers = followers
        self._bus = bus
        self._rules = rules
        self._observer = observer

    async def ask(self, ask: Ask) -> Generation:
        """Writes the question down and starts its answer, which then needs nobody to listen.

        What was asked before with the same key is joined, in whatever state it is. Raises
        RunnelError: `invalid_request`, `message_too_long`, `unknown_model`, `model_unavailable`,
        `not_found`, `conflict`, `idempotency_conflict`, `busy`, `overloaded`, `shutting_down`,
        `store_unavailable`, `stream_unavailable`.
        """
        ask = checked(ask, self._rules)
        self._making.check(ask)  # what can be refused at once
        if ask.key is not None:
            # Before all that could refuse a new question: this one is none.
            joined = await self._store.asked_before(ask.user_id, ask.key)
            if joined is not None:
                if not ask.needs_reader:
                    await self._aborting.keep(joined.id)
                return joined
        self._running.refuse_if_closing()
        self._log.check()
        if self._log.full:
            raise RunnelError(
                Code.OVERLOADED,
                "Too many answers are being made. Ask again shortly.",
                retry_after=1,
            )
        # Whoever asked may leave at any moment; what was begun is carried through all the same.
        return await asyncio.shield(self._running.own(self._begin(ask)))

    async def attach(
        self,
        user_id: str,
        generation_id: str,
        after: Position | None = None,
        *,
        polling: bool = False,
        overhears: bool = False,
    ) -> Follower:
        """Begins to follow a user's own answer: from the current epoch's first event, or behind
        a position. Who polls comes back all the time, and is not counted as coming back. Who
        overhears all that is said is no sign that somebody wants this answer.

        Raises RunnelError `not_found` for unknown and foreign alike.
        """
        seen = await self.see(user_id, generation_id)
        follower = await self._follow(
            generation_id, seen.end, after, counted=not overhears, needed=seen.needs_reader
        )
        if after is not None and not polling and not follower.finished:
            self._observer.resumed()
        return follower

    async def follow(
        self, asked: Generation, after: Position | None = None, *, whole: bool = False
    ) -> Follower:
        """The same for an answer that was just asked for, as `ask` gave it.

        `whole`: its `outcome` is wanted too.
        """
        follower = await self._follow(
            asked.id, asked.end, after, needed=asked.needs_reader, whole=whole
        )
        if after is not None and not follower.finished:
            self._observer.resumed()
        return follower

    async def see(self, user_id: str, generation_id: str) -> Seen:
        """How a user's own generation stands. Raises RunnelError `not_found`."""
        seen = await self._store.see(user_id, generation_id) if may_be_id(generation_id) else None
        if seen is None:
            raise _unknown()
        return seen

    async def generation(self, user_id: str, generation_id: str) -> Generation:
        """A user's own generation. Raises RunnelError `not_found` for unknown and foreign alike."""
        found = (
            await self._store.generation(user_id, generation_id)
            if may_be_id(generation_id)
            else None
        )
        if found is None:
            raise _unknown()
        return found

    async def generations(
        self, user_id: str, status: Status | None, cursor: str | None, limit: int
    ) -> tuple[Sequence[Generation], str | None]:
        """A page of a user's own generations, newest first, and the cursor of the next page.

        Raises RunnelError `invalid_request` for a cursor that is none.
        """
        return await self._store.generations(user_id, status, cursor, limit)

    async def abort(self, user_id: str, generation_id: str) -> Generation:
        """Stops an answer for everyone, keeping its text; the generation as it is then.

        It is live still if the end could not be confirmed in time; then it will end all the
        same. What has ended stays as it is. Raises RunnelError `not_found`.
        """
        if not may_be_id(generation_id):
            raise _unknown()
        seconds = self._rules.abort_wait_seconds
        if await self._aborting.abort(user_id, generation_id, seconds=seconds) is None:
            raise _unknown()
        return await self.generation(user_id, generation_id)

    def abandon(self, asked: Generation) -> None:
        """Aborts an answer at once whose one reader has gone; what has ended stays as it is."""
        self._aborting.abandon(asked.user_id, asked.id)

    async def abort_all(
        self, user_id: str, by: str = "user", *, seconds: float = END_WAIT_SECONDS
    ) -> None:
        """Aborts whatever is being made for a user, keeping the text; awaits the ends for a while."""
        await self._running.abort_all(user_id, by, seconds=seconds)

    async def check(self) -> None:
        """Raises RunnelError `shutting_down` once no more questions are taken."""
        self._running.refuse_if_closing()

    async def drain(self, grace_seconds: float) -> None:
        """Takes no more questions, gives what runs here the grace, then hands it to others, or
        interrupts it. Who follows what is made elsewhere goes at once.
        """
        draining = asyncio.ensure_future(self._running.drain(grace_seconds))
        await asyncio.sleep(0)  # from now on whoever comes back is refused
        self._followers.close_some(self._running.made_elsewhere)
        await draining

    async def _follow(
        self,
        generation_id: str,
        end: Position | None,
        after: Position | None,
        *,
        counted: bool = True,
        needed: bool,
        whole: bool = False,
    ) -> Follower:
        if end is None:
            self._running.refuse_if_elsewhere(generation_id)
        # The reader first: from now on a log that is there is kept.
        reader = self._log.read(generation_id, after)
        follower = self._followers.add(
            generation_id,
            reader,
            after,
            counted=counted,
            needed=needed and end is None,
            whole=whole,
        )
        try:
            await self._tell_what_has_ended(follower, end)
        except BaseException:
            follower.leave()
            raise
        return follower

    async def _tell_what_has_ended(self, follower: Follower, end: Position | None) -> None:
        if end is None:
            return
        if follower.position == end:
            follower.finished = True
        elif await self._log.epoch(follower.generation_id) != end.epoch:
            ended = await self._store.ended(follower.generation_id)
            if ended is None:
                raise _unknown()
            follower.end_with(ended)

    async def _begin(self, ask: Ask) -> Generation:
        with ExitStack() as held:

            def choose(found: Found) -> Chosen:
                # From before its commit: whoever sees the answer then may stop it.
                held.enter_context(self._running.holding(found.generation_id))
                return self._making.choose(ask, found)

            begun = await self._store.begin_ask(ask, choose, self._owner)
            if isinstance(begun, Joined):
                if not ask.needs_reader:
                    await self._aborting.keep(begun.generation.id)
                return begun.generation
            producer = await self._making.producer(
                begun.generation,
                begun,
                begun.chosen.candidates,
                ask.params,
                prompt=begun.chosen.prompt,
                epoch=begun.epoch,
                stateless=ask.stateless,
            )
            if not ask.stateless:
                self._bus.publish(Asked.of(begun.generation, ask, begun.turns[-1].text))
            self._running.start(producer, needs_reader=ask.needs_reader)
        return begun.generation


def _unknown() -> RunnelError:
    return RunnelError(Code.NOT_FOUND, "There is no such generation.")
