"""The models alone."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from runnel.configs import (
    catalog_config,
)
from runnel.models.building import Builder
from runnel.models.catalog import ModelCatalog, strict
from runnel.settings import Settings


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
    catalog = ModelCatalog(
        Builder(catalog_config(settings)),
        ping_seconds=settings.startup_check_seconds,
        asks=settings.startup_check != "off",
    )
    try:
        await catalog.load()
        yield catalog
    finally:
        await catalog.close()
