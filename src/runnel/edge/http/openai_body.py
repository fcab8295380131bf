"""A question in OpenAI's chat-completions wire, and what the chat core is asked then.

What cannot be honoured is refused by its name. What is ignored changes nothing of the answer.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from runnel.accounts.entities import Identity
from runnel.chat.entities import Ask, Params
from runnel.chat.param_fields import MaxTokens, Seed, StopSequences, Temperature, TopP
from runnel.edge.asking import MOST_MESSAGES
from runnel.edge.http.openai_messages import CompletionMessage

_MOST_TOOLS: Final = 256
#: What goes on to the provider as it came, if it takes it.
_PASSED: Final = (
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "reasoning_effort",
    "user",
    "verbosity",
)
#: What has a meaning only with another field.
_NEEDS: Final = {
    "stream_options": "stream",
    "tool_choice": "tools",
    "parallel_tool_calls": "tools",
}
_CHOICES: Final = ("none", "auto", "required")

Penalty = Annotated[float, Field(ge=-2, le=2)]
Word = Annotated[str, Field(max_length=64)]


class ToolFunction(BaseModel):
    """What a tool is; all else of it is the provider's to understand."""

    model_config = ConfigDict(extra="allow")
    name: Annotated[str, Field(min_length=1, max_length=256)]


class Tool(BaseModel):
    """Tools that are no functions are of the provider's own making, and not passed on."""

    model_config = ConfigDict(extra="allow")
    type: Literal["function"]
    function: ToolFunction


class ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: Literal["text", "json_object", "json_schema"]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")
    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class IgnoredFields(BaseModel):
    """What may be said, as long as it asks for nothing of the answer that would not be so anyway.

    `store` is about OpenAI's own keeping; what is kept here is kept with or without it.
    """

    n: Literal[1] | None = None
    logprobs: Literal[False] | None = None
    top_logprobs: Literal[0] | None = None
    store: bool | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    modalities: Annotated[list[Literal["text"]], Field(max_length=1)] | None = None
    service_tier: Literal["auto", "default"] | None = None
    prompt_cache_key: str | None = None
    prediction: None = None
    audio: None = None


class CompletionBody(IgnoredFields):
    """A question, with the whole talk before it."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"model": "builtin/demo", "messages": [{"role": "user", "content": "Hello!"}]}
            ]
        },
    )
    model: Annotated[str, Field(min_length=1, max_length=255)]
    # One fault is enough: to find 300,000 of them takes seconds.
    messages: Annotated[
        list[CompletionMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)
    ]
    temperature: Temperature | None = None
    top_p: TopP | None = None
    max_tokens: MaxTokens | None = None
    max_completion_tokens: MaxTokens | None = None
    seed: Seed | None = None
    stop: StopSequences | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=_MOST_TOOLS, fail_fast=True)] | None = None
    tool_choice: Annotated[
        Any, Field(json_schema_extra={"anyOf": [{"enum": [*_CHOICES, None]}, {"type": "object"}]})
    ] = None
    parallel_tool_calls: bool | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    reasoning_effort: Word | None = None
    user: Annotated[str, Field(max_length=512)] | None = None
    verbosity: Word | None = None

    @field_validator("messages")
    @classmethod
    def _of_parts(cls, value: list[CompletionMessage]) -> list[CompletionMessage]:
        # Each takes a provider's client a quarter of a millisecond, in which nobody else is served.
        if sum(len(m.content or ()) + len(m.tool_calls or ()) for m in value) > MOST_MESSAGES:
            raise ValueError(f"have over {MOST_MESSAGES} parts and calls together")
        return value

    @field_validator("tool_choice")
    @classmethod
    def _known_choice(cls, value: object) -> object:
        if _is_choice(value):
            return value
        raise ValueError(f"is one of {', '.join(_CHOICES)}, or an object that names a tool")

    # Of the field itself, not of the whole: so the fault has its name.
    @field_validator("stream_options", "tool_choice", "parallel_tool_calls")
    @classmethod
    def _with_what_it_needs(cls, value: Any, info: ValidationInfo) -> Any:  # Any: as it came
        needed = _NEEDS[info.field_name or ""]
        if value is not None and needed in info.data and not info.data[needed]:
            raise ValueError(f"goes with `{needed}`")
        return value

    @field_validator("max_completion_tokens")
    @classmethod
    def _one_bound(cls, value: int | None, info: ValidationInfo) -> int | None:
        if None not in (value, other := info.data.get("max_tokens")) and value != other:
            raise ValueError("is the same as `max_tokens`: send one of them")
        return value

    @property
    def usage_asked(self) -> bool:
        """Whether a stream is to tell the tokens at its end."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def to_ask(self, caller: Identity) -> Ask:
        """The last message is what is asked, the others are the talk before."""
        *history, question = [message.to_turn() for message in self.messages]
        return Ask(
            user_id=caller.user_id,
            text=question.text,
            turn=question,
            history=history,
            model=self.model,
            params=self._params(),
            stateless=True,
            needs_reader=True,
        )

    def _params(self) -> Params:
        form = self.response_format
        passed = self._as_it_came()
        if form is not None and form.type == "json_schema":
            passed["response_format"] = form.model_dump(exclude_unset=True)
        return Params(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            seed=self.seed,
            stop=tuple(self.stop or ()),
            # Other providers know this one too, by words of their own.
            # Said to be text, it is: whatever the alias' own params say.
            json_mode={"json_object": True, "text": False}.get(form.type) if form else None,
            passed=passed,
        )

    def _as_it_came(self) -> dict[str, Any]:
        said = self.model_dump(include={*_PASSED}, exclude_unset=True)
        return {name: value for name, value in said.items() if value not in (None, [], {})}


def _is_choice(value: object) -> bool:
    return isinstance(value, dict) or value in (None, *_CHOICES)
