"""Aliases made ready: from models.json and from keys in the environment, each by its provider."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from runnel.chat.entities import Params
from runnel.chat.model_ports import ListedModel
from runnel.chat.places import Places
from runnel.chat.terms import Price, Terms
from runnel.errors import StartupError
from runnel.models import builtin, file
from runnel.models.file import (
    AliasConfig,
    BedrockAlias,
    BuiltinAlias,
    LangGraphAlias,
    ModelsFile,
    OpenAIAlias,
)
from runnel.models.langchain import Entry, LangChainModel

if TYPE_CHECKING:
    from runnel.models.bedrock import BedrockFamily
    from runnel.models.openai import OpenAIFamily

DEMO_ALIAS = "builtin/demo"
#: What an HTTP header holds unharmed.
_FIT_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


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
    openai_model: str
    bedrock_model: str | None
    bedrock_endpoint_url: str | None
    bedrock_max_streams: int
    aws_region: str | None
    aws_profile: str | None
    demo_tokens_per_second: float
    environment: Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Aliases:
    """What a models.json amounts to. `missing` says why some cannot be asked, whatever happens."""

    listed: Mapping[str, ListedModel] = field(default_factory=dict[str, ListedModel])
    models: Mapping[str, LangChainModel] = field(default_factory=dict[str, LangChainModel])
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    restarting: frozenset[str] = frozenset()
    default: str | None = None


class _Missing(Exception):  # noqa: N818 - a state of the environment, not a fault
    """Something that an alias needs is not there; the text says what."""


class Builder:
    """Builds aliases, as often as models.json is read; connections and threads are shared."""

    def __init__(self, config: CatalogConfig) -> None:
        self._config = config
        self._openai: OpenAIFamily | None = None
        self._bedrock: BedrockFamily | None = None
        self._places: dict[str, Places] = {}

    def build(self) -> Aliases:
        """Raises StartupError, one line a fault, naming file, alias and field."""
        before = dict(self._places)
        try:
            return self._built()
        except StartupError:
            self._places = before  # what is refused changes nothing
            raise

    def _built(self) -> Aliases:
        config = self._config
        given = file.read(config.models_file)
        entries = self._with_environment(given)
        default, faults = _default(config, given, list(entries))
        faults += _wrong_title_model(config.title_model, list(entries))
        faults += _wrong_fallbacks(entries, config.models_file)
        models: dict[str, LangChainModel] = {}
        missing: dict[str, str] = {}
        for alias, entry in entries.items():
            try:
                models[alias] = self._model(alias, entry)
            except StartupError as error:
                lines = str(error).splitlines()
                if alias in given.aliases:
                    faults += [f"{config.models_file}: {line}" for line in lines]
                else:  # made by a key, which no file names
                    faults += [
                        f"the environment: {line.removeprefix('aliases.')}" for line in lines
                    ]
            except _Missing as error:
                missing[alias] = str(error)
        if faults:
            raise StartupError("\n".join(faults))
        return Aliases(
            listed={
                alias: ListedModel(alias, entry.provider, _model_of(entry), available=True)
                for alias, entry in entries.items()
            },
            models=models,
            missing=missing,
            fallbacks={alias: entry.fallbacks for alias, entry in entries.items()},
            restarting=frozenset(
                alias for alias, entry in entries.items() if entry.mid_stream == "restart"
            ),
            default=default,
        )

    async def close(self) -> None:
        if self._openai is not None:
            await self._openai.close()
        if self._bedrock is not None:
            self._bedrock.close()

    def _with_environment(self, given: ModelsFile) -> dict[str, AliasConfig]:
        """The file's aliases, and those that keys in the environment make; else the demo."""
        config = self._config
        entries = dict(given.aliases)
        if config.openai_api_key or config.openai_base_url:
            openai = _openai_from(config)
            entries.setdefault(f"openai/{config.openai_model}", openai)
        if config.bedrock_model:
            bedrock = BedrockAlias(provider="bedrock", model=config.bedrock_model)
            entries.setdefault(f"bedrock/{config.bedrock_model}", bedrock)
        return entries or {DEMO_ALIAS: BuiltinAlias(provider="builtin")}

    # The providers' clients are imported where they are used: they take seconds, and not
    # everybody has a key.
    def _model(self, alias: str, entry: AliasConfig) -> LangChainModel:
        match entry:
            case BuiltinAlias():
                ready = self._entry(alias, entry, builtin.TAKES)
                speed = self._config.demo_tokens_per_second
                return builtin.build(ready, tokens_per_second=speed)
            case OpenAIAlias():
                return self._openai_model(alias, entry)
            case BedrockAlias():
                return self._bedrock_model(alias, entry)
            case LangGraphAlias():
                from runnel.models import langgraph  # noqa: PLC0415 - as said

                return langgraph.build(self._entry(alias, entry, langgraph.TAKES))

    def _openai_model(self, alias: str, entry: OpenAIAlias) -> LangChainModel:
        from runnel.models import openai  # noqa: PLC0415 - as said

        if self._openai is None:
            self._openai = openai.OpenAIFamily()
        ready = self._entry(alias, entry, openai.TAKES)
        preset, variable = openai.PRESETS.get(entry.provider, (None, None))
        base_url = entry.base_url or preset
        api_key = self._key(entry, entry.api_key_env or variable)
        return self._openai.build(ready, api_key=api_key, base_url=base_url)

    def _bedrock_model(self, alias: str, entry: BedrockAlias) -> LangChainModel:
        from runnel.models import bedrock  # noqa: PLC0415 - as said

        config = self._config
        if self._bedrock is None:
            self._bedrock = bedrock.BedrockFamily(
                region=config.aws_region,
                endpoint_url=config.bedrock_endpoint_url,
                most_streams=config.bedrock_max_streams,
            )
        ready = self._entry(alias, entry, bedrock.TAKES)
        profile = entry.profile or config.aws_profile
        return self._bedrock.build(ready, region=entry.region, profile=profile)

    def _key(self, entry: OpenAIAlias, variable: str | None) -> str | None:
        """The key to send. Raises _Missing if it is needed and not set."""
        config = self._config
        needless = variable is None and entry.base_url is not None
        if needless and entry.base_url != config.openai_base_url:
            # The key goes to OpenAI or to OPENAI_BASE_URL, and to no other host.
            return None
        name = variable or "OPENAI_API_KEY"
        key = config.openai_api_key if variable is None else config.environment(name)
        if key is not None and not _FIT_KEY.fullmatch(key):
            raise _Missing(
                f"needs the environment variable {name}, which holds what no key has: white space"
                " around it, or other characters than ASCII"
            )
        if key is None and not needless:
            raise _Missing(f"needs the environment variable {name}, which is empty")
        return key

    def _entry(self, alias: str, entry: AliasConfig, takes: frozenset[str]) -> Entry:
        config = self._config
        own = entry.params.to_params()
        if refused := sorted(own.given().keys() - takes):
            raise StartupError(
                f"aliases.{alias}.params.{refused[0]}: {entry.provider} does not take it"
            )
        usual = Params(temperature=config.temperature if "temperature" in takes else None)
        prompt = config.system_prompt if entry.system_prompt is None else entry.system_prompt
        places = self._places.get(alias)
        if places is None or places.most != entry.max_parallel:
            places = self._places[alias] = Places(entry.max_parallel)
        return Entry(
            alias=alias,
            provider=entry.provider,
            provider_model=_model_of(entry),
            terms=Terms(
                takes=takes,
                context_tokens=entry.context_tokens or config.context_tokens,
                system_prompt=prompt or None,
                timeout_seconds=entry.timeout_seconds,
                price=entry.price and Price(entry.price.input, entry.price.output),
                prefill=entry.prefill,
            ),
            defaults=own.over(usual),
            places=places,
        )


def _openai_from(config: CatalogConfig) -> OpenAIAlias:
    try:
        return OpenAIAlias(
            provider="openai", model=config.openai_model, base_url=config.openai_base_url
        )
    except ValidationError as error:
        raise StartupError(
            "\n".join(f"OPENAI_BASE_URL or MODEL_NAME: {line}" for line in file.said(error))
        ) from None


def _model_of(entry: AliasConfig) -> str:
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


def _default(
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
