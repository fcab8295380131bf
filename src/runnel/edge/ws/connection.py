"""The connection loop: from a client's frames to the chat core, whatever the dialect."""

from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final, cast

from pydantic import ValidationError

from runnel.accounts.entities import Identity
from runnel.chat.channel import Channel, Listener
from runnel.chat.channels import SessionState
from runnel.chat.entities import Ask, Generation, SessionRef
from runnel.chat.notices import Asked, Typing
from runnel.chat.text import clean
from runnel.edge.asking import AskBody
from runnel.edge.clients import client_of
from runnel.edge.dialects.sockets import (
    Aborting,
    Answer,
    Asking,
    BeingTyped,
    Command,
    Frame,
    Resuming,
    end_of,
    error_frame,
    invalid,
    kind_of,
    unknown_member,
    write,
)
from runnel.edge.parts import Parts
from runnel.edge.sockets import CloseCode
from runnel.edge.ws.admission import token_of
from runnel.edge.ws.deliveries import Deliveries
from runnel.edge.ws.delivery import Delivery, Way
from runnel.edge.ws.places import Place
from runnel.edge.ws.wire import Wire
from runnel.errors import Code, RunnelError

_PONG: Final = [write(type="pong")]


class Connection:
    """One signed-in connection, at its place."""

    def __init__(
        self,
        wire: Wire,
        parts: Parts,
        identity: Identity,
        place: Place,
        deliveries: Deliveries,
    ) -> None:
        self.id = wire.id
        self._wire = wire
        self._parts = parts
        self._identity = identity
        self._place = place
        self._dialect = place.dialect
        self._deliveries = deliveries
        self._resumed: Delivery | None = None
        self._channel: Channel | None = None
        self._types = False

    async def join(self, stack: ExitStack) -> SessionState | None:
        """Takes its place until the stack is closed. How its session stands, if it is in one.

        Raises RunnelError `not_found`, `rate_limited`, `store_unavailable`.
        """
        channels, user_id = self._parts.channels, self._identity.user_id
        listener = Listener(self.id, self._hear, self._hear_typing, self._gone)
        state = None
        if self._place.session is not None:
            self._channel, state = await channels.session(
                stack,
                user_id,
                self._place.session,
                listener,
                client=client_of(self._wire.websocket),
                admit_new=self._admit_new,
            )
        elif self._place.kind == "user":
            self._channel = await channels.user(stack, user_id, listener)
        return state

    async def _admit_new(self) -> None:
        await self._parts.limiter.admit_new_session(self._wire.websocket)

    async def run(self, state: SessionState | None) -> None:
        """Serves it until it is closed, by whomever; then raises ClosedError."""
        await self._wire.send(self._dialect.connected(self.id, state))
        self._deliveries.begin()
        try:
            await self._serve_frames()
        finally:
            if self._types:  # whoever goes types no more
                self._type(active=False)

    async def _serve_frames(self) -> None:
        while True:
            frame: Frame = {}
            try:
                frame = await self._wire.receive()
                await self._serve(frame)
            except RunnelError as error:
                self._parts.metrics.error(error.code)
                if error.code is Code.UNAUTHORIZED:
                    self._wire.end(CloseCode.UNAUTHORIZED, error.message)
                else:
                    key = frame.get("client_message_id")
                    named = {"client_message_id": key} if isinstance(key, str) else {}
                    await self._wire.send([error_frame(error, **named)])

    async def _serve(self, frame: Frame) -> None:
        match kind_of(frame):
            case "ping":
                await self._wire.send(_PONG)
            case "auth":
                await self._sign_in_again(frame)
            case _:
                await self._act(frame)

    async def _sign_in_again(self, frame: Frame) -> None:
        """Some clients always send their token, also where the handshake held it."""
        try:
            identity = await self._parts.accounts.authenticate(token_of(frame))
        except RunnelError as error:
            await self._wire.send([error_frame(error)])  # the socket is signed in as it was
            return
        if identity.user_id != self._identity.user_id:
            raise RunnelError(Code.CONFLICT, "This socket is another user's. Open a new one.")

    async def _act(self, frame: Frame) -> None:
        # Whoever was somebody when the socket was opened may be nobody by now.
        await self._parts.accounts.holder(self._identity.user_id, self._identity.login_id)
        if self._dialect.asks(frame):
            await self._parts.limiter.admit_frame(self._wire.websocket)
        command: Command = self._dialect.command(frame)
        match command:
            case Asking():
                await self._ask(command)
            case Aborting():
                await self._abort(command.generation_id)
            case Resuming():
                await self._resume(command)
            case BeingTyped():
                self._type(active=command.active)

    def _type(self, *, active: bool) -> None:
        self._types = active
        self._parts.channels.typing(
            Typing(self._identity.user_id, self._session_id(), self.id, active=active)
        )

    async def _ask(self, asking: Asking) -> None:
        body = _validated(asking)
        told = self._deliveries.only()
        alone = self._place.kind == "completions"
        if alone and told is not None and not told.asked_with(body.client_message_id):
            raise RunnelError(
                Code.BUSY,
                "An answer is being told. Wait for its end or abort it, then ask again.",
                facts={"generation_id": told.generation_id},
            )
        ask = _to_ask(body, asking, self._identity)
        ask = replace(
            ask,
            text=clean(ask.text),  # all are told the same
            # By its id: once it is purged, its name is free for another.
            session=SessionRef(id=self._session_id()) if self._place.session else ask.session,
            needs_reader=alone,
            origin=self.id,
            whole=None if body.streams is None else not body.streams,
            client=client_of(self._wire.websocket),
        )
        generation = await self._parts.chat.ask(ask)
        asked = Asked.of(generation, ask)
        if self._channel is not None:
            self._channel.knows(asked.generation_id, asked.asked_at)
        answer = Answer(asked, own=True, echo=body.session_id, whole=asked.whole)
        delivery = self._deliveries.of(asked.generation_id)
        if delivery is not None:
            delivery.again(answer)
        else:
            self._deliveries.add(self._delivery(answer))

    async def _abort(self, generation_id: str | None) -> None:
        user_id = self._identity.user_id
        if generation_id is None:
            generation_id = await self._running()
        elif self._place.session is not None:
            assert self._channel is not None
            await self._parts.channels.asked_in(self._channel, generation_id)
        told = self._deliveries.of(generation_id)
        generation = await self._parts.chat.abort(user_id, generation_id)
        if told is None and self._deliveries.of(generation_id) is None:
            await self._tell_end(generation)
        # Else it is told the end like any other.

    async def _running(self) -> str:
        """What is running here. Raises RunnelError `not_found`."""
        if self._channel is None:
            told = self._deliveries.only()
            running = told and told.generation_id
        else:
            running = await self._parts.channels.running_in(
                self._identity.user_id, self._session_id()
            )
        if running is None:
            raise RunnelError(Code.NOT_FOUND, "No answer is being made here.")
        return running

    async def _tell_end(self, generation: Generation) -> None:
        if not generation.status.terminal:
            raise RunnelError(
                Code.STREAM_UNAVAILABLE,
                "The answer is being stopped; its end is not confirmed yet.",
                facts={"generation_id": generation.id},
            )
        if self._channel is not None:
            self._channel.knows(generation.id, generation.created_at)
        answer = Answer(Asked.of(generation), own=True)
        await self._wire.send(end_of(self._dialect, answer, generation))

    async def _resume(self, resuming: Resuming) -> None:
        channel, generation_id = self._channel, resuming.generation_id
        assert channel is not None
        asked = await self._parts.channels.asked_in(channel, generation_id)
        if self._resumed is not None and self._resumed.generation_id != generation_id:
            # A client that reads nothing is not to fill the memory with what it leaves.
            await self._resumed.left()
        # Nothing is awaited from here on: what is heard meanwhile would be told twice.
        delivery = self._deliveries.of(generation_id)
        if delivery is not None:
            delivery.resume(resuming.after)
        else:
            channel.knows(asked.generation_id, asked.asked_at)
            delivery = self._delivery(Answer(asked, own=True), resuming)
            self._deliveries.add_at_once(delivery)
        self._resumed = delivery

    def _session_id(self) -> str:
        assert self._channel is not None
        assert self._channel.session_id is not None
        return self._channel.session_id

    def _delivery(self, answer: Answer, resuming: Resuming | None = None) -> Delivery:
        sockets = self._parts.sockets
        way = Way(
            self._parts.chat,
            self._wire,
            self._dialect,
            missed=self._missed,
            restarting=lambda: sockets.closing,
        )
        return Delivery(way, answer, resuming)

    def _missed(self, asked: Asked) -> None:
        if self._channel is not None:
            self._channel.missed(asked)

    def _hear(self, asked: Asked) -> bool:
        if self._deliveries.full:
            return False
        self._deliveries.add(self._delivery(Answer(asked, own=False, whole=asked.whole)))
        return True

    def _gone(self) -> None:
        self._wire.end(CloseCode.UNKNOWN, "The session is gone.")

    def _hear_typing(self, typing: Typing) -> None:
        self._deliveries.post(typing.origin, self._dialect.typing(typing))


def _validated(asking: Asking) -> AskBody:
    """Raises RunnelError `invalid_request`, naming the first fault as the frame has it."""
    try:
        return AskBody.model_validate(asking.body)
    except ValidationError as error:
        fault = cast("dict[str, Any]", error.errors(include_url=False, include_input=False)[0])
        # What is of no one field is that `stream` says one thing, and `params` another.
        ours, *inner = [str(part) for part in fault["loc"]] or ["stream"]
        field = ".".join([asking.names.get(ours, ours), *inner])
        if fault["type"] == "extra_forbidden":
            raise invalid(field, unknown_member(field)) from None
        raise invalid(field, fault["msg"].removeprefix("Value error, ")) from None


def _to_ask(body: AskBody, asking: Asking, caller: Identity) -> Ask:
    """Raises RunnelError `invalid_request`; what cannot name a session, as the frame has it."""
    try:
        return body.to_ask(caller, None)
    except RunnelError as error:
        if error.field != "session_id":
            raise
        raise invalid(asking.names[error.field], error.message) from None
