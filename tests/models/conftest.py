"""Catalogs as models.json and the environment make them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from loading import Load
from runnel.models.building import Builder
from runnel.models.catalog import ModelCatalog
from runnel.models.entries import CatalogConfig


@pytest.fixture
async def load(tmp_path: Path) -> AsyncIterator[Load]:
    loaded: list[ModelCatalog] = []

    async def load(
        file: object = None, env: dict[str, str] | None = None, **changes: Any
    ) -> ModelCatalog:
        path = tmp_path / "models.json"
        if file is not None:
            path.write_text(file if isinstance(file, str) else json.dumps(file))
        defaults: dict[str, Any] = {
            "models_file": path,
            "default_model": None,
            "title_model": None,
            "system_prompt": None,
            "temperature": None,
            "context_tokens": 1000,
            "openai_api_key": None,
            "openai_base_url": None,
            "openai_client": "direct",
            "openai_model": "gpt-4o-mini",
            "bedrock_model": None,
            "bedrock_endpoint_url": None,
            "bedrock_max_streams": 4,
            "aws_region": None,
            "aws_profile": None,
            "demo_tokens_per_second": 40,
            "environment": (env or {}).get,
        }
        config = CatalogConfig(**(defaults | changes))
        loaded.append(ModelCatalog(Builder(config), ping_seconds=5))
        await loaded[-1].load()
        return loaded[-1]

    yield load
    for catalog in loaded:
        await catalog.close()
