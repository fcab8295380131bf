"""The JSON shapes of answers under /v1, for the OpenAPI document."""

from typing import Any, Final, Literal

from typing_extensions import TypedDict

from runnel.edge.http.shapes import Responses


class CountedShape(TypedDict):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ChoiceShape(TypedDict):
    """`finish_reason` is OpenAI's, or `aborted` where somebody else stopped the answer."""

    index: Literal[0]
    message: dict[str, Any]
    logprobs: None
    finish_reason: str


class CompletionShape(TypedDict):
    """A whole answer; `model` is the alias that served it."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChoiceShape]
    usage: CountedShape


class ServedModelShape(TypedDict):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ServedModelsShape(TypedDict):
    object: Literal["list"]
    data: list[ServedModelShape]


class FailureShape(TypedDict):
    message: str
    type: str
    param: str | None
    code: str | None


class FailedShape(TypedDict):
    """Any error under /v1."""

    error: FailureShape


ANY_FAILURE: Final[Responses] = {"default": {"description": "Any error", "model": FailedShape}}
