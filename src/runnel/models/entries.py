"""Which aliases there are, by models.json and by keys in the environment, and which names are wrong."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from runnel.errors import StartupError
from runnel.models import file
from runnel.models.file import (
    AliasConfig,
    BedrockAlias,
    BuiltinAlias,
    LangGraphAlias,
    ModelsFile,
    OpenAIAlias,
)

DEMO_ALIAS: Final = "builtin/demo"


@dataclass(frozen=True, slots=True)
class CatalogConfig:
    """What the environment says about models; `environment` looks a variable up.

    `temperature`, `system_prompt` and `context_tokens` are for aliases that do not say.
    """

    models_file: Path
    default_model: str | None
    title_model: str | None
    system_prompt: str | None
    temperature: float | None
    context_tokens: int
    openai_api_key: str | None
    openai_base_url: str | None
    openai_client: Literal["direct", "sdk"]
    openai_model: str
    bedrock_model: str | None
    bedrock_endpoint_url: str | None
    bedrock_max_streams: int
    aws_region: str | None
    aws_profile: str | None
    demo_tokens_per_second: float
    environment: Callable[[str], str | None]


def entries_of(config: CatalogConfig, given: ModelsFile) -> dict[str, AliasConfig]:
    """The file's aliases, and those that keys in the environment make; else the demo.

    Raises StartupError.
    """
    entries = dict(given.aliases)
    if config.openai_api_key or config.openai_base_url:
        entries.setdefault(f"openai/{config.openai_model}", _openai_from(config))
    if config.bedrock_model:
        bedrock = BedrockAlias(provider="bedrock", model=config.bedrock_model)
        entries.setdefault(f"bedrock/{config.bedrock_model}", bedrock)
    return entries or {DEMO_ALIAS: BuiltinAlias(provider="builtin")}


def wrong_names(config: CatalogConfig, entries: Mapping[str, AliasConfig]) -> list[str]:
    """One line for each alias that is named somewhere and is none."""
    return [
        *_wrong_title_model(config.title_model, list(entries)),
        *_wrong_fallbacks(entries, config.models_file),
    ]


def _openai_from(config: CatalogConfig) -> OpenAIAlias:
    try:
        return OpenAIAlias(
            provider="openai", model=config.openai_model, base_url=config.openai_base_url
        )
    except ValidationError as error:
        raise StartupError(
            "\n".join(f"OPENAI_BASE_URL or MODEL_NAME: {line}" for line in file.said(error))
        ) from None


def model_of(entry: AliasConfig) -> str:
    return entry.graph if isinstance(entry, LangGraphAlias) else entry.model


def _wrong_fallbacks(entries: Mapping[str, AliasConfig], path: Path) -> list[str]:
    faults: list[str] = []
    for alias, entry in entries.items():
        said = [f"there is no alias {name}" for name in entry.fallbacks if name not in entries]
        if alias in entry.fallbacks:
            said.append("an alias cannot stand in for itself")
        if len(set(entry.fallbacks)) < len(entry.fallbacks):
            said.append("an alias is named twice")
        faults += [f"{path}: aliases.{alias}.fallbacks: {what}" for what in said]
    return faults


def _wrong_title_model(name: str | None, aliases: Sequence[str]) -> list[str]:
    if name is None or name in aliases:
        return []
    return [f"TITLE_MODEL: there is no alias {name}; there are {', '.join(aliases)}"]


def default_of(
    config: CatalogConfig, given: ModelsFile, aliases: Sequence[str]
) -> tuple[str | None, list[str]]:
    """The alias that answers where none is named, and what is wrong with what is said of it."""
    for source, name in (
        ("DEFAULT_MODEL", config.default_model),
        (f"{config.models_file}: default", given.default),
    ):
        if name is not None and name not in aliases:
            return None, [f"{source}: there is no alias {name}; there are {', '.join(aliases)}"]
        if name is not None:
            return name, []
    return (aliases[0] if len(aliases) == 1 else None), []
