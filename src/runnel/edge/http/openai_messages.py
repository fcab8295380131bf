"""The messages of OpenAI's chat-completions wire, and the turns that they are to us."""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from runnel.chat.entities import Image, Role, Turn
from runnel.events import ToolCall

_MOST_PARTS: Final = 1000
_MOST_CALLS: Final = 256
#: What only some roles may say, and which.
_OF_ROLES: Final = {"tool_calls": ("assistant",), "tool_call_id": ("tool",)}
_URLS: Final = ("https://", "http://", "data:image/")


class ImageUrl(BaseModel):
    """A picture by its address, which the provider fetches, or itself in the address."""

    model_config = ConfigDict(extra="forbid")
    url: str
    detail: Literal["auto", "low", "high"] | None = None

    @field_validator("url")
    @classmethod
    def _fit(cls, value: str) -> str:
        if not value.startswith(_URLS):
            raise ValueError("a picture's address begins with https://, http:// or data:image/")
        return value


class ContentPart(BaseModel):
    """A part of a content that is more than text."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None

    @model_validator(mode="after")
    def _what_it_says(self) -> Self:
        for name in ("text", "image_url"):
            if (getattr(self, name) is not None) != (name == self.type):
                raise ValueError(f"a part of type `{self.type}` has `{self.type}`, and no other")
        return self

    def to_part(self) -> str | Image:
        if self.image_url is None:
            return self.text or ""
        return Image(self.image_url.url, self.image_url.detail)


class CalledFunction(BaseModel):
    """Which tool is called, and the JSON that it is given, as text."""

    model_config = ConfigDict(extra="forbid")
    name: str
    arguments: str
    parsed_arguments: Any = None  # the client's own reading of them


class CallBody(BaseModel):
    """A call of a tool that an earlier answer has made."""

    model_config = ConfigDict(extra="forbid")
    id: str
    type: Literal["function"] = "function"
    index: int | None = None  # of a call put together from a stream
    function: CalledFunction


def _in_parts(value: object) -> object:
    return [{"type": "text", "text": value}] if isinstance(value, str) else value


_Parts = Annotated[list[ContentPart], Field(min_length=1, max_length=_MOST_PARTS, fail_fast=True)]
# As a union of the two, its faults would be named by its branches, which no client knows.
Content = Annotated[_Parts, BeforeValidator(_in_parts, json_schema_input_type=str | _Parts)]


class CompletionMessage(BaseModel):
    """One message. What answers of this wire carry and is empty with us comes back, and may."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    tool_calls: Annotated[list[CallBody], Field(max_length=_MOST_CALLS, fail_fast=True)] | None = (
        None
    )
    tool_call_id: str | None = None
    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    refusal: None = None
    parsed: Any = None  # the client's own reading of the content
    audio: None = None
    function_call: None = None
    annotations: Annotated[list[Any], Field(max_length=0)] | None = None

    @model_validator(mode="after")
    def _as_its_role_may(self) -> Self:
        for name, roles in _OF_ROLES.items():
            if getattr(self, name) and self.role not in roles:
                raise ValueError(f"`{name}` goes with the role {' or '.join(roles)}")
        if self.content is None and not self.tool_calls:
            raise ValueError("`content` is missing")
        if self.role == "tool" and not self.tool_call_id:
            raise ValueError("a tool's message names its `tool_call_id`")
        if self.role != "user" and any(part.image_url for part in self.content or ()):
            raise ValueError("pictures go with the role user")
        return self

    def to_turn(self) -> Turn:
        parts = [part.to_part() for part in self.content or ()]
        text = "".join(part for part in parts if isinstance(part, str))
        return Turn(
            self._turn_role(),
            text,
            # A content that is one text goes on as such: not every server takes parts.
            parts=() if parts in ([], [text]) else parts,
            tool_calls=self._calls(),
            tool_call_id=self.tool_call_id,
            # A tool's message needs none: the call that it answers names the tool.
            name=None if self.role == "tool" else self.name,
        )

    def _turn_role(self) -> Role:
        return "system" if self.role == "developer" else self.role

    def _calls(self) -> Sequence[ToolCall]:
        return [
            ToolCall(index, call.id, call.function.name, call.function.arguments)
            for index, call in enumerate(self.tool_calls or ())
        ]
