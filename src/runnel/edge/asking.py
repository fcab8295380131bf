"""What a question looks like in a body, and what the chat core is asked then."""

import re
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from typing_extensions import override

from runnel.accounts.entities import Identity
from runnel.chat.entities import Ask, AskKey, SessionRef, Turn
from runnel.chat.param_fields import ParamFields
from runnel.chat.sessions.refs import message_id as id_of
from runnel.chat.sessions.refs import session_ref
from runnel.edge.dialects.sse import Format
from runnel.errors import Code, RunnelError

#: Of a history that the client brings.
MOST_MESSAGES: Final = 5000
#: Visible ASCII, and spaces between: a header holds nothing else unharmed.
_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


class ParamsBody(ParamFields):
    """How the model is to answer; what is absent is left to the alias, then to the model."""

    model_config = ConfigDict(frozen=True)
    stream: bool | None = None

    # Nobody changes it: one is enough for all bodies that say nothing of it.
    @override
    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self


class MessageBody(BaseModel):
    """One turn of a history that the client brings."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "user", "assistant"]
    content: str


#: The setting ATTACHMENTS_PER_MESSAGE is at most so large.
AttachmentIds = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=100, fail_fast=True)
]


class DeliveryBody(BaseModel):
    """Who is to answer and how, and how the answer is delivered."""

    model_config = ConfigDict(extra="forbid")
    model: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    params: ParamsBody = ParamsBody()
    stream: bool | None = None
    format: Format = "text"
    background: bool = False
    on_disconnect: Literal["continue", "abort"] = "continue"
    client_message_id: str | None = None

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if None not in (self.stream, self.params.stream) and self.stream != self.params.stream:
            raise ValueError("`stream` and `params.stream` contradict each other")
        if self.background and self.on_disconnect == "abort":
            raise ValueError(
                "`background` answers belong to no connection: `on_disconnect` cannot be `abort`"
            )
        return self

    @property
    def streams(self) -> bool | None:
        """Whether the client wants a stream; None if it did not say."""
        return self.params.stream if self.stream is None else self.stream

    def delivered(self, ask: Ask, idempotency_key: str | None) -> Ask:
        """The question with all that these fields say. Raises RunnelError `invalid_request`.

        `idempotency_key` is the header's; `client_message_id` is the same by another way.
        """
        return replace(
            ask,
            model=self.model,
            params=self.params.to_params(),
            key=self._key(idempotency_key),
            needs_reader=self.on_disconnect == "abort",
        )

    def _key(self, header: str | None) -> AskKey | None:
        given = {"Idempotency-Key": header, "client_message_id": self.client_message_id}
        keys = {field: key for field, key in given.items() if key is not None}
        for field, key in keys.items():
            if not _KEY.fullmatch(key):
                raise RunnelError(
                    Code.INVALID_REQUEST,
                    f"{field} is 1 to 255 visible ASCII characters, as a UUID.",
                    field=field,
                )
        if len(set(keys.values())) > 1:
            raise RunnelError(
                Code.INVALID_REQUEST,
                "client_message_id and the header Idempotency-Key are the same key: send one.",
                field="client_message_id",
            )
        return next((AskKey(key) for key in keys.values()), None)


class AskBody(DeliveryBody):
    """A question: exactly one of `message`, `prompt` (the same) and `messages`."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"message": "Hello!"}]}
    )
    message: str | None = None
    prompt: str | None = None
    # One fault is enough: to find 300,000 of them takes seconds.
    messages: (
        Annotated[list[MessageBody], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)]
        | None
    ) = None
    session_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    attachments: AttachmentIds | None = None

    @field_validator("messages")
    @classmethod
    def _ends_with_the_question(cls, value: list[MessageBody] | None) -> list[MessageBody] | None:
        if value and value[-1].role != "user":
            raise ValueError("the last message is the question: its role is `user`")
        return value

    @model_validator(mode="after")
    def _one_question(self) -> Self:
        given = [
            name for name in ("message", "prompt", "messages") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                "send one of `message`, `prompt` and `messages`"
                + (f", not {' and '.join(given)}" if given else "")
            )
        return self

    def to_ask(self, caller: Identity, idempotency_key: str | None) -> Ask:
        """Raises RunnelError `invalid_request` for an unfit session name or key."""
        history = None
        if self.messages:
            history = [Turn(message.role, message.content) for message in self.messages[:-1]]
        question = self.messages[-1].content if self.messages else self.message or self.prompt
        ask = Ask(
            user_id=caller.user_id,
            text=question or "",
            session=session_ref(self.session_id, caller.username),
            history=history,
            attachments=self.attachments,
        )
        return self.delivered(ask, idempotency_key)


class RegenerateBody(DeliveryBody):
    """Another answer to a question that was asked before."""

    def to_ask(
        self, caller: Identity, session: SessionRef, message_id: str, idempotency_key: str | None
    ) -> Ask:
        ask = Ask(user_id=caller.user_id, text="", session=session, regenerates=id_of(message_id))
        return self.delivered(ask, idempotency_key)


class EditBody(DeliveryBody):
    """A question in the place of another, whose branch stays. Without `attachments` it has those
    of the other.
    """

    content: str
    attachments: AttachmentIds | None = None

    def to_ask(
        self, caller: Identity, session: SessionRef, message_id: str, idempotency_key: str | None
    ) -> Ask:
        ask = Ask(
            user_id=caller.user_id,
            text=self.content,
            session=session,
            attachments=self.attachments,
            edits=id_of(message_id),
        )
        return self.delivered(ask, idempotency_key)
