"""Aliases: from models.json and from the environment, and what is said when they are wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from loading import Load
from runnel.errors import Code, RunnelError, StartupError

TWO = {
    "chat/a": {"provider": "openai", "model": "m-1", "base_url": "http://127.0.0.1:9/v1"},
    "chat/b": {"provider": "openai", "model": "m-2", "base_url": "http://127.0.0.1:9/v1"},
}


def refusal(call: Callable[[], object]) -> RunnelError:
    with pytest.raises(RunnelError) as refused:
        call()
    return refused.value


async def test_with_nothing_the_demo_is_there_and_is_the_default(load: Load) -> None:
    assert (await load()).candidates(None).models[0].alias == "builtin/demo"


async def test_a_key_makes_an_alias_of_its_own(load: Load) -> None:
    catalog = await load(openai_api_key="k")
    assert [model.alias for model in catalog.listed()] == ["openai/gpt-4o-mini"]
    assert catalog.candidates(None).models[0].provider_model == "gpt-4o-mini"


async def test_a_base_url_alone_makes_one_too(load: Load) -> None:
    catalog = await load(openai_base_url="http://127.0.0.1:11434/v1", openai_model="llama3")
    assert catalog.candidates("openai/llama3").models[0].provider == "openai"


async def test_the_default_is_the_setting_then_the_files_then_the_only_one(load: Load) -> None:
    file = {"default": "chat/a", "aliases": TWO}
    assert (await load(file, default_model="chat/b")).candidates(None).models[0].alias == "chat/b"
    assert (await load(file)).candidates(None).models[0].alias == "chat/a"
    assert (await load({"aliases": {"only": TWO["chat/a"]}})).candidates(None).models[
        0
    ].alias == "only"


async def test_without_a_default_a_model_must_be_named(load: Load) -> None:
    catalog = await load({"aliases": TWO})
    error = refusal(lambda: catalog.candidates(None))
    assert error.code is Code.UNKNOWN_MODEL
    assert "chat/a, chat/b" in error.message


async def test_a_providers_name_is_enough_if_one_alias_alone_has_it(load: Load) -> None:
    catalog = await load({"aliases": TWO | {"chat/c": TWO["chat/b"]}})
    assert catalog.candidates("m-1").models[0].alias == "chat/a"
    assert refusal(lambda: catalog.candidates("m-2")).code is Code.UNKNOWN_MODEL
    assert refusal(lambda: catalog.candidates("m-3")).code is Code.UNKNOWN_MODEL


async def test_an_alias_without_its_key_is_listed_and_says_what_it_needs(load: Load) -> None:
    file = {"aliases": {"chat/k": TWO["chat/a"] | {"api_key_env": "LOCAL_KEY"}}}
    catalog = await load(file)
    assert [model.available for model in catalog.listed()] == [False]
    error = refusal(lambda: catalog.candidates("chat/k"))
    assert (error.code, error.retryable) == (Code.MODEL_UNAVAILABLE, False)
    assert "LOCAL_KEY" in error.message
    assert (await load(file, env={"LOCAL_KEY": "k"})).candidates("chat/k").models[
        0
    ].alias == "chat/k"


async def test_openais_key_goes_to_no_other_host(load: Load) -> None:
    catalog = await load({"aliases": TWO}, openai_api_key="secret")
    model: Any = catalog.candidates("chat/a").models[0]
    assert model.ping.key == ("http://127.0.0.1:9/v1", None)


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
        await load(file)
    assert "models.json" in str(wrong.value)
    assert said in str(wrong.value)
    assert "sk-1" not in str(wrong.value)


async def test_a_default_model_that_is_none_is_said_with_the_settings_name(load: Load) -> None:
    with pytest.raises(StartupError, match="DEFAULT_MODEL: there is no alias x"):
        await load(default_model="x")
