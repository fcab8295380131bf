"""Aliases made ready: from models.json and from keys in the environment, each by its provider."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from runnel.chat.entities import Params
from runnel.chat.model_ports import ListedModel
from runnel.chat.places import Places
from runnel.chat.terms import Price, Terms
from runnel.errors import StartupError
from runnel.models import file
from runnel.models.entries import (
    CatalogConfig,
    default_of,
    entries_of,
    model_of,
    wrong_names,
)
from runnel.models.file import (
    AliasConfig,
    BedrockAlias,
    BuiltinAlias,
    LangGraphAlias,
    OpenAIAlias,
)
from runnel.models.langchain import Entry, LangChainModel
from runnel.models.providers import BUILTIN_TAKES, OPENAI_TAKES, PRESETS

if TYPE_CHECKING:
    from runnel.models.bedrock import BedrockFamily
    from runnel.models.openai import OpenAIFamily

Make = Callable[[], LangChainModel]
#: What an HTTP header holds unharmed.
_FIT_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


@dataclass(frozen=True, slots=True)
class Aliases:
    """What a models.json amounts to. `missing` says why some cannot be asked, whatever happens."""

    listed: Mapping[str, ListedModel] = field(default_factory=dict[str, ListedModel])
    models: Mapping[str, LangChainModel] = field(default_factory=dict[str, LangChainModel])
    missing: Mapping[str, str] = field(default_factory=dict[str, str])
    fallbacks: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    restarting: frozenset[str] = frozenset()
    default: str | None = None


class Judged(NamedTuple):
    """Aliases before they have models; a maker makes one, and cannot fail."""

    aliases: Aliases
    makers: Mapping[str, Make]


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
        """The aliases with their models. Raises StartupError, as `judge` does."""
        judged = self.judge()
        models = {alias: make() for alias, make in judged.makers.items()}
        return replace(judged.aliases, models=models)

    def judge(self) -> Judged:
        """What a models.json amounts to. No client is loaded that is not needed to say so.

        Raises StartupError, one line a fault, naming file, alias and field.
        """
        before = dict(self._places)
        try:
            return self._judged()
        except StartupError:
            self._places = before  # what is refused changes nothing
            raise

    def _judged(self) -> Judged:
        config = self._config
        given = file.read(config.models_file)
        entries = entries_of(config, given)
        default, faults = default_of(config, given, list(entries))
        faults += wrong_names(config, entries)
        makers: dict[str, Make] = {}
        missing: dict[str, str] = {}
        for alias, entry in entries.items():
            try:
                makers[alias] = self._maker(alias, entry)
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
        aliases = Aliases(
            listed={
                alias: ListedModel(
                    alias, entry.provider, model_of(entry), available=alias in makers
                )
                for alias, entry in entries.items()
            },
            missing=missing,
            fallbacks={alias: entry.fallbacks for alias, entry in entries.items()},
            restarting=frozenset(
                alias for alias, entry in entries.items() if entry.mid_stream == "restart"
            ),
            default=default,
        )
        return Judged(aliases, makers)

    async def close(self) -> None:
        if self._openai is not None:
            await self._openai.close()
        if self._bedrock is not None:
            self._bedrock.close()

    # The providers' clients are imported where models are made of them: they take seconds and
    # dozens of megabytes, and not everybody uses them all. What may be wrong with an alias of
    # Bedrock's or with a graph only its making shows.
    def _maker(self, alias: str, entry: AliasConfig) -> Make:
        match entry:
            case BuiltinAlias():
                return partial(self._demo, self._entry(alias, entry, BUILTIN_TAKES))
            case OpenAIAlias():
                ready = self._entry(alias, entry, OPENAI_TAKES)
                preset, variable = PRESETS.get(entry.provider, (None, None))
                api_key = self._key(entry, entry.api_key_env or variable)
                base_url = entry.base_url or preset
                return partial(self._openai_model, ready, api_key=api_key, base_url=base_url)
            case BedrockAlias():
                made = self._bedrock_model(alias, entry)
            case LangGraphAlias():
                from runnel.models import langgraph  # noqa: PLC0415 - as said

                made = langgraph.build(self._entry(alias, entry, langgraph.TAKES))
        return lambda: made

    def _demo(self, ready: Entry) -> LangChainModel:
        from runnel.models import builtin  # noqa: PLC0415 - as said

        return builtin.build(ready, tokens_per_second=self._config.demo_tokens_per_second)

    def _openai_model(
        self, ready: Entry, *, api_key: str | None, base_url: str | None
    ) -> LangChainModel:
        from runnel.models import openai  # noqa: PLC0415 - as said

        if self._openai is None:
            self._openai = openai.OpenAIFamily(direct=self._config.openai_client == "direct")
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
            provider_model=model_of(entry),
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
