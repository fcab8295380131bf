"""models.json: what may stand in it, and what is said where something is wrong."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, cast

import orjson
from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from runnel.chat.param_fields import ParamFields
from runnel.errors import StartupError

Name = Annotated[str, Field(min_length=1, max_length=255)]
AliasName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/@-]{1,128}$")]


def _address(text: str) -> str:
    url = _URL.validate_python(text)
    if url.query is not None or url.fragment is not None:
        raise ValueError("is an address without `?` and `#`, as http://127.0.0.1:11434/v1")
    return text


_URL: Final = TypeAdapter(AnyHttpUrl)
#: Kept as it was written; only looked at.
BaseUrl = Annotated[str, AfterValidator(_address)]
#: Names a variable of the environment, never a key.
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class PriceFields(BaseModel):
    """What a million tokens cost, in whatever the operator counts in."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: Annotated[float, Field(ge=0, le=1_000_000)]
    output: Annotated[float, Field(ge=0, le=1_000_000)]


class AliasFields(BaseModel):
    """What every alias may say."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    fallbacks: tuple[AliasName, ...] = ()
    mid_stream: Literal["fail", "restart"] = "fail"
    params: ParamFields = ParamFields()
    system_prompt: str | None = None
    context_tokens: Annotated[int, Field(ge=1)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    max_parallel: Annotated[int, Field(ge=1)] | None = None
    price: PriceFields | None = None
    prefill: bool = False


class BuiltinAlias(AliasFields):
    """The demo model."""

    provider: Literal["builtin"]
    model: Literal["demo"] = "demo"


class OpenAIAlias(AliasFields):
    """A model behind OpenAI's wire, at OpenAI, at a provider known by name, or anywhere else."""

    provider: Literal["openai", "groq", "fireworks_ai"]
    model: Name
    base_url: BaseUrl | None = None
    api_key_env: Variable | None = None


class BedrockAlias(AliasFields):
    """A model of AWS Bedrock, asked through its Converse API."""

    provider: Literal["bedrock"]
    model: Name
    region: Name | None = None
    profile: Name | None = None


class LangGraphAlias(AliasFields):
    """A compiled LangGraph graph, named as `package.module:graph`."""

    provider: Literal["langgraph"]
    graph: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]


AliasConfig = Annotated[
    BuiltinAlias | OpenAIAlias | BedrockAlias | LangGraphAlias, Field(discriminator="provider")
]


_PROVIDERS: Final = ("openai", "groq", "fireworks_ai", "bedrock", "langgraph", "builtin")


class ModelsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    default: str | None = None
    aliases: dict[AliasName, AliasConfig] = {}

    @model_validator(mode="before")
    @classmethod
    def _without_schema(cls, value: Any) -> Any:
        # Editors put it there.
        if isinstance(value, dict):
            given = cast("dict[str, Any]", value)
            return {key: item for key, item in given.items() if key != "$schema"}
        return value


def read(path: Path) -> ModelsFile:
    """The file, or what an absent one amounts to.

    Raises StartupError, one line a fault, naming file, alias and field.
    """
    if not path.exists():
        return ModelsFile()
    try:
        return ModelsFile.model_validate(orjson.loads(path.read_bytes()))
    except OSError as error:
        raise StartupError(f"{path}: cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise StartupError(f"{path}: no valid JSON: {error}") from None
    except ValidationError as error:
        raise StartupError("\n".join(f"{path}: {line}" for line in said(error))) from None


def said(error: ValidationError) -> list[str]:
    """What pydantic found, a line each, without what was given: that may be a secret."""
    return [
        _line(fault["type"], fault["loc"], fault["msg"].removeprefix("Value error, "))
        for fault in error.errors(include_url=False, include_input=False)
    ]


def _line(kind: str, location: tuple[int | str, ...], message: str) -> str:
    if kind == "union_tag_not_found":
        return f"{_place(location)}.provider: Field required"
    if kind == "union_tag_invalid":
        return f"{_place(location)}.provider: is one of {', '.join(_PROVIDERS)}"
    return f"{_place(location)}: {message}"


def _place(location: tuple[int | str, ...]) -> str:
    # Pydantic puts the discriminator's value behind the alias; the reader of the file does not.
    return ".".join(str(part) for part in (*location[:2], *location[3:])) or "the file"
