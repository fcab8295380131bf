"""The catalog of aliases: from models.json and from keys in the environment."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from runnel.chat.ports import ListedModel, Model
from runnel.errors import Code, RunnelError, StartupError
from runnel.models import builtin

if TYPE_CHECKING:
    from runnel.models.openai import OpenAIFamily

DEMO_ALIAS: Final = "builtin/demo"


class BuiltinAlias(BaseModel):
    """An alias of the demo model."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    provider: Literal["builtin"]
    model: Literal["demo"] = "demo"


class OpenAIAlias(BaseModel):
    """An alias of a model behind OpenAI's wire. `api_key_env` names a variable, never a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    provider: Literal["openai"]
    model: Annotated[str, Field(min_length=1, max_length=255)]
    base_url: Annotated[str, Field(pattern=r"^https?://")] | None = None
    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None


AliasConfig = Annotated[BuiltinAlias | OpenAIAlias, Field(discriminator="provider")]


class ModelsFile(BaseModel):
    """models.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    default: str | None = None
    aliases: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/@-]{1,128}$")], AliasConfig] = {}


@dataclass(frozen=True, slots=True)
class CatalogConfig:
    """What the environment says about models; `environment` looks a variable up."""

    models_file: Path
    default_model: str | None
    openai_api_key: str | None
    openai_base_url: str | None
    openai_model: str
    demo_tokens_per_second: float
    environment: Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Missing:
    """An alias that cannot be asked, for want of a key."""

    listed: ListedModel
    variable: str

    def error(self) -> RunnelError:
        return RunnelError(
            Code.MODEL_UNAVAILABLE,
            f"{self.listed.alias} needs the environment variable {self.variable}, which is empty.",
            retryable=False,
        )


class ModelCatalog:
    """Implements chat.ports.Catalog. `missing` are aliases that cannot be asked as things are."""

    def __init__(
        self,
        models: Mapping[str, Model],
        missing: Mapping[str, Missing],
        default: str | None,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._models = models
        self._missing = missing
        self._close = close
        self.default = default

    def resolve(self, name: str | None) -> Model:
        name = name or self.default
        if name is None:
            raise RunnelError(
                Code.UNKNOWN_MODEL, f"Name a `model`: {self._names()}.", field="model"
            )
        if name in self._missing:
            raise self._missing[name].error()
        if name in self._models:
            return self._models[name]
        named_so = [model for model in self._models.values() if model.provider_model == name]
        if len(named_so) != 1:
            raise RunnelError(
                Code.UNKNOWN_MODEL,
                f"There is no model of that name. There are: {self._names()}.",
                field="model",
            )
        return named_so[0]

    def listed(self) -> Sequence[ListedModel]:
        there = [
            ListedModel(alias, model.provider, model.provider_model, available=True)
            for alias, model in self._models.items()
        ]
        return [*there, *(missing.listed for missing in self._missing.values())]

    async def close(self) -> None:
        """Closes the connections to providers."""
        if self._close is not None:
            await self._close()

    def _names(self) -> str:
        return ", ".join((*self._models, *self._missing))


def load_catalog(config: CatalogConfig) -> ModelCatalog:
    """Raises StartupError, one line a fault, naming file, alias and field."""
    file = _read(config.models_file)
    aliases = _with_environment(file.aliases, config)
    default = _default(config, file, list(aliases))
    models: dict[str, Model] = {}
    missing: dict[str, Missing] = {}
    family = _openai_family() if any(a.provider == "openai" for a in aliases.values()) else None
    for alias, entry in aliases.items():
        if isinstance(entry, BuiltinAlias):
            models[alias] = builtin.build(alias, tokens_per_second=config.demo_tokens_per_second)
            continue
        variable, api_key = _key(entry, config)
        if variable is not None and api_key is None:
            listed = ListedModel(alias, entry.provider, entry.model, available=False)
            missing[alias] = Missing(listed, variable)
            continue
        assert family is not None
        models[alias] = family.build(alias, entry.model, api_key=api_key, base_url=entry.base_url)
    return ModelCatalog(models, missing, default, family and family.close)


def _openai_family() -> "OpenAIFamily":
    # Imported where it is used: the client takes two seconds, and not everybody has a key.
    from runnel.models.openai import OpenAIFamily  # noqa: PLC0415

    return OpenAIFamily()


def _with_environment(
    aliases: Mapping[str, BuiltinAlias | OpenAIAlias], config: CatalogConfig
) -> dict[str, BuiltinAlias | OpenAIAlias]:
    """The aliases, with the one that a key in the environment makes; the demo if there is none."""
    all_aliases = dict(aliases)
    if config.openai_api_key or config.openai_base_url:
        from_key = OpenAIAlias(
            provider="openai", model=config.openai_model, base_url=config.openai_base_url
        )
        all_aliases.setdefault(f"openai/{config.openai_model}", from_key)
    return all_aliases or {DEMO_ALIAS: BuiltinAlias(provider="builtin")}


def _key(entry: OpenAIAlias, config: CatalogConfig) -> tuple[str | None, str | None]:
    """The variable that must hold the key, None if none must, and the key."""
    if entry.api_key_env is not None:
        return entry.api_key_env, config.environment(entry.api_key_env)
    if entry.base_url is None:
        return "OPENAI_API_KEY", config.openai_api_key
    # The key goes to OpenAI or to OPENAI_BASE_URL, and to no other host.
    return None, config.openai_api_key if entry.base_url == config.openai_base_url else None


def _read(path: Path) -> ModelsFile:
    if not path.exists():
        return ModelsFile()
    try:
        return ModelsFile.model_validate(orjson.loads(path.read_bytes()))
    except OSError as error:
        raise StartupError(f"{path}: cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        raise StartupError(f"{path}: no valid JSON: {error}") from None
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise StartupError(
            "\n".join(f"{path}: {_place(fault['loc'])}: {fault['msg']}" for fault in faults)
        ) from None


def _place(location: tuple[int | str, ...]) -> str:
    # Pydantic puts the discriminator's value behind the alias; the reader of the file does not.
    return ".".join(str(part) for part in (*location[:2], *location[3:])) or "the file"


def _default(config: CatalogConfig, file: ModelsFile, aliases: Sequence[str]) -> str | None:
    for source, name in (
        ("DEFAULT_MODEL", config.default_model),
        (f"{config.models_file}: default", file.default),
    ):
        if name is None:
            continue
        if name not in aliases:
            raise StartupError(
                f"{source}: there is no alias {name}; there are {', '.join(aliases)}"
            )
        return name
    return aliases[0] if len(aliases) == 1 else None
