"""The models alone."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from runnel.models.building import Aliases, Builder
from runnel.models.catalog import ModelCatalog, strict
from runnel.models.entries import CatalogConfig
from runnel.secret_values import reveal
from runnel.settings import Settings, environment_value

_log = structlog.stdlib.get_logger()


@asynccontextmanager
async def open_catalog(settings: Settings) -> AsyncGenerator[ModelCatalog]:
    """The models alone, checked as STARTUP_CHECK says. Raises StartupError, one line a fault."""
    async with open_models(settings) as catalog:
        if settings.startup_check != "off":
            await catalog.check()
        if settings.startup_check == "strict":
            strict(catalog)
        catalog.log_faults()
        yield catalog


@asynccontextmanager
async def open_models(settings: Settings) -> AsyncGenerator[ModelCatalog]:
    """The models alone, read from their file; no provider is asked. Raises StartupError."""
    if absent := absent_file(settings):
        _log.info("models.no_file", file=str(absent))
    catalog = ModelCatalog(
        Builder(_config(settings)),
        ping_seconds=settings.startup_check_seconds,
        asks=settings.startup_check != "off",
    )
    try:
        await catalog.load()
        yield catalog
    finally:
        await catalog.close()


@asynccontextmanager
async def open_aliases(settings: Settings) -> AsyncGenerator[Aliases]:
    """Which aliases there are, without what only an answer needs. Raises StartupError."""
    builder = Builder(_config(settings))
    try:
        yield builder.judge().aliases
    finally:
        await builder.close()


def absent_file(settings: Settings) -> Path | None:
    """What MODELS_FILE names, if it is not there: that is no fault, but may be a slip."""
    named = "models_file" in settings.model_fields_set
    return settings.models_file if named and not settings.models_file.exists() else None


def _config(settings: Settings) -> CatalogConfig:
    return CatalogConfig(
        models_file=settings.models_file,
        default_model=settings.default_model,
        title_model=settings.title_model,
        system_prompt=settings.system_prompt,
        temperature=settings.temperature,
        context_tokens=settings.history_max_tokens,
        openai_api_key=reveal(settings.openai_api_key),
        openai_base_url=settings.openai_base_url,
        openai_client=settings.openai_client,
        openai_model=settings.model_name,
        bedrock_model=settings.bedrock_model_id,
        bedrock_endpoint_url=settings.bedrock_endpoint_url,
        bedrock_max_streams=settings.bedrock_max_streams,
        aws_region=settings.aws_region,
        aws_profile=settings.aws_profile,
        demo_tokens_per_second=settings.demo_tokens_per_second,
        environment=environment_value,
    )
