"""Aliases: from models.json and from the environment, and what is said when they are wrong."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from runnel.errors import Code, RunnelError, StartupError
from runnel.models.catalog import CatalogConfig, ModelCatalog, load_catalog

Load = Callable[..., ModelCatalog]

TWO = {
    "chat/a": {"provider": "openai", "model": "m-1", "base_url": "http://127.0.0.1:9/v1"},
    "chat/b": {"provider": "openai", "model": "m-2", "base_url": "http://127.0.0.1:9/v1"},
}


@pytest.fixture
async def load(tmp_path: Path) -> AsyncIterator[Load]:
    loaded: list[ModelCatalog] = []

    def load(
        file: object = None, env: dict[str, str] | None = None, **changes: Any
    ) -> ModelCatalog:
        path = tmp_path / "models.json"
        if file is not None:
            path.write_text(file if isinstance(file, str) else json.dumps(file))
        defaults: dict[str, Any] = {
            "models_file": path,
            "default_model": None,
            "openai_api_key": None,
            "openai_base_url": None,
            "openai_model": "gpt-4o-mini",
            "demo_tokens_per_second": 40,
            "environment": (env or {}).get,
        }
        loaded.append(load_catalog(CatalogConfig(**(defaults | changes))))
        return loaded[-1]

    yield load
    for catalog in loaded:
        await catalog.close()


def refusal(call: Callable[[], object]) -> RunnelError:
    with pytest.raises(RunnelError) as refused:
        call()
    return refused.value


async def test_with_nothing_the_demo_is_there_and_is_the_default(load: Load) -> None:
    assert load().resolve(None).alias == "builtin/demo"


async def test_a_key_makes_an_alias_of_its_own(load: Load) -> None:
    catalog = load(openai_api_key="k")
    assert [model.alias for model in catalog.listed()] == ["openai/gpt-4o-mini"]
    assert catalog.resolve(None).provider_model == "gpt-4o-mini"


async def test_a_base_url_alone_makes_one_too(load: Load) -> None:
    catalog = load(openai_base_url="http://127.0.0.1:11434/v1", openai_model="llama3")
    assert catalog.resolve("openai/llama3").provider == "openai"


async def test_the_default_is_the_setting_then_the_files_then_the_only_one(load: Load) -> None:
    file = {"default": "chat/a", "aliases": TWO}
    assert load(file, default_model="chat/b").resolve(None).alias == "chat/b"
    assert load(file).resolve(None).alias == "chat/a"
    assert load({"aliases": {"only": TWO["chat/a"]}}).resolve(None).alias == "only"


async def test_without_a_default_a_model_must_be_named(load: Load) -> None:
    error = refusal(lambda: load({"aliases": TWO}).resolve(None))
    assert error.code is Code.UNKNOWN_MODEL
    assert "chat/a, chat/b" in error.message


async def test_a_providers_name_is_enough_if_one_alias_alone_has_it(load: Load) -> None:
    catalog = load({"aliases": TWO | {"chat/c": TWO["chat/b"]}})
    assert catalog.resolve("m-1").alias == "chat/a"
    assert refusal(lambda: catalog.resolve("m-2")).code is Code.UNKNOWN_MODEL
    assert refusal(lambda: catalog.resolve("m-3")).code is Code.UNKNOWN_MODEL


async def test_an_alias_without_its_key_is_listed_and_says_what_it_needs(load: Load) -> None:
    file = {"aliases": {"chat/k": TWO["chat/a"] | {"api_key_env": "LOCAL_KEY"}}}
    catalog = load(file)
    assert [model.available for model in catalog.listed()] == [False]
    error = refusal(lambda: catalog.resolve("chat/k"))
    assert (error.code, error.retryable) == (Code.MODEL_UNAVAILABLE, False)
    assert "LOCAL_KEY" in error.message
    assert load(file, env={"LOCAL_KEY": "k"}).resolve("chat/k").alias == "chat/k"


async def test_openais_key_goes_to_no_other_host(load: Load) -> None:
    catalog = load({"aliases": TWO}, openai_api_key="secret")
    model: Any = catalog.resolve("chat/a")
    assert model._chat_model.openai_api_key.get_secret_value() == "none"


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("{", "models.json: no valid JSON"),
        ({"alias": {}}, "alias: Extra inputs"),
        ({"aliases": {"a": {"provider": "nobody", "model": "m"}}}, "aliases.a"),
        ({"aliases": {"a": {"provider": "openai"}}}, "aliases.a.model: Field required"),
        (
            {"aliases": {"a": {"provider": "openai", "model": "m", "api_key": "sk-1"}}},
            "aliases.a.api_key: Extra inputs",
        ),
        (
            {"aliases": {"a": {"provider": "openai", "model": "m", "base_url": "ftp://x"}}},
            "aliases.a.base_url",
        ),
        ({"aliases": {"a b": {"provider": "builtin"}}}, "a b"),
        ({"default": "x", "aliases": {"a": {"provider": "builtin"}}}, "there is no alias x"),
    ],
)
async def test_a_wrong_file_is_named_with_alias_and_field(
    load: Load, file: object, said: str
) -> None:
    with pytest.raises(StartupError) as wrong:
        load(file)
    assert "models.json" in str(wrong.value)
    assert said in str(wrong.value)
    assert "sk-1" not in str(wrong.value)


async def test_a_default_model_that_is_none_is_said_with_the_settings_name(load: Load) -> None:
    with pytest.raises(StartupError, match="DEFAULT_MODEL: there is no alias x"):
        load(default_model="x")
