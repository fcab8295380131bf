"""What the fixture `load` is: a catalog of a models.json, of an environment and of settings."""

from collections.abc import Awaitable, Callable

from runnel.models.catalog import ModelCatalog

#: Takes the file's content, `env`, and fields of CatalogConfig; without a file, the last one stays.
Load = Callable[..., Awaitable[ModelCatalog]]
