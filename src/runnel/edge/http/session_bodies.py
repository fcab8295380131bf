"""What is sent of sessions, and what the chat core is told then."""

import re
from ipaddress import ip_address
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from runnel.accounts.entities import Identity
from runnel.chat.sessions.changes import UNSET, Changes, NewSession, ReactionChanges
from runnel.chat.sessions.refs import ID, session_ref
from runnel.chat.sessions.values import ClientInfo, SessionSettings
from runnel.chat.text import clean

#: Of a title. Longer ones are no titles.
MOST_TITLE: Final = 200  # characters
MOST_PROJECT_ID: Final = 128  # same
MOST_SYSTEM_PROMPT: Final = 20_000  # same
_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,6}")


def _one_line(text: str) -> str:
    line = " ".join(clean(text).split())
    if not line:
        raise ValueError("is only white space")
    return line


def _language(tag: str) -> str:
    if _LANGUAGE.fullmatch(tag) is None:
        raise ValueError("is a BCP 47 tag, as `pt-BR`")
    return tag


def _address(text: str) -> str:
    return str(ip_address(text))


Title = Annotated[str, Field(min_length=1, max_length=MOST_TITLE), AfterValidator(_one_line)]
ProjectId = Annotated[str, Field(min_length=1, max_length=MOST_PROJECT_ID), AfterValidator(clean)]


class SettingsBody(BaseModel):
    """What the next answers obey. `language` is a BCP 47 tag; `stream_responses` is for WebSockets.

    What is absent stays as it is; null is as if it had never been set.
    """

    model_config = ConfigDict(extra="forbid")
    model_preference: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    language: Annotated[str, Field(max_length=64), AfterValidator(_language)] | None = None
    stream_responses: Annotated[bool, Field(strict=True)] | None = None
    system_prompt: (
        Annotated[str, Field(max_length=MOST_SYSTEM_PROMPT), AfterValidator(clean)] | None
    ) = None


class MetadataBody(BaseModel):
    """The client that begins the session; what is absent is taken from the request."""

    model_config = ConfigDict(extra="forbid")
    user_agent: Annotated[str, Field(max_length=256), AfterValidator(clean)] | None = None
    ip_address: Annotated[str, Field(max_length=64), AfterValidator(_address)] | None = None
    client_version: Annotated[str, Field(max_length=64), AfterValidator(clean)] | None = None


class NewSessionBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    title: Title | None = None
    project_id: ProjectId | None = None
    settings: SettingsBody = SettingsBody()
    metadata: MetadataBody = MetadataBody()

    @field_validator("name")
    @classmethod
    def _no_id(cls, value: str | None) -> str | None:
        if value is not None and ID.fullmatch(value):
            raise ValueError("has the shape of an id: take another name")
        return value

    def to_new(self, caller: Identity, client: ClientInfo) -> NewSession:
        """Raises RunnelError `invalid_request` for what cannot name a session."""
        own, said = self.settings, self.metadata
        return NewSession(
            name=session_ref(self.name, caller.username, field="name").name,
            title=self.title,
            project_id=self.project_id,
            settings=SessionSettings(
                own.model_preference,
                own.language,
                own.stream_responses is not False,
                own.system_prompt,
            ),
            client=ClientInfo(
                said.user_agent or client.user_agent,
                said.ip_address or client.ip_address,
                said.client_version or client.client_version,
            ),
        )


class SessionChangesBody(BaseModel):
    """What is absent stays as it is. `closed` as DELETE does, `active` opens it again."""

    model_config = ConfigDict(extra="forbid")
    title: Title | None = None
    project_id: ProjectId | None = None
    status: Literal["active", "closed"] | None = None
    settings: SettingsBody | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("send one of `title`, `project_id`, `status` and `settings`")
        return self

    def to_changes(self) -> Changes:
        own = self.settings or SettingsBody()
        settings = {name: getattr(own, name) for name in own.model_fields_set}
        if settings.get("stream_responses", False) is None:
            settings["stream_responses"] = True
        return Changes(
            title=self.title if "title" in self.model_fields_set else UNSET,
            project_id=self.project_id if "project_id" in self.model_fields_set else UNSET,
            closed=UNSET if self.status is None else self.status == "closed",
            **settings,
        )


class BranchBody(BaseModel):
    model_config = ConfigDict(extra="forbid")
    message_id: Annotated[str, Field(min_length=1, max_length=128)]


class ReactionBody(BaseModel):
    """What is absent stays as it is; null takes it back."""

    model_config = ConfigDict(extra="forbid", strict=True)
    helpful: bool | None = None
    rating: Annotated[int, Field(ge=1, le=5)] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("send `helpful`, `rating` or both")
        return self

    def to_changes(self) -> ReactionChanges:
        return ReactionChanges(**{name: getattr(self, name) for name in self.model_fields_set})
