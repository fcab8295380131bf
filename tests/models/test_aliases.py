"""What an alias may say in models.json: made into terms, or refused with file, alias and field."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loading import Load
from runnel.chat.entities import Params
from runnel.chat.terms import Price, Terms
from runnel.errors import Code, RunnelError, StartupError
from runnel.events import Usage
from runnel.models.catalog import ModelCatalog
from runnel.models.langchain import Ping
from runnel.models.providers import BUILTIN_TAKES, OPENAI_TAKES

DEMO = {"provider": "builtin"}
NOWHERE = {"provider": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}


def aliases(**entries: dict[str, Any]) -> dict[str, Any]:
    return {"aliases": entries}


def only(catalog: ModelCatalog) -> Any:
    (model,) = catalog.candidates(None).models
    return model


async def test_all_that_an_alias_may_say_is_in_its_terms(load: Load) -> None:
    said = {
        "fallbacks": ["b"],
        "mid_stream": "restart",
        "params": {"temperature": 0.1, "stop": "END"},
        "system_prompt": "Be brief.",
        "context_tokens": 77,
        "timeout_seconds": 2.5,
        "max_parallel": 3,
        "price": {"input": 0.15, "output": 0.6},
    }
    catalog = await load(aliases(a=DEMO | said, b=DEMO))
    candidates = catalog.candidates("a")
    first, second = candidates.models
    assert candidates.restarts
    assert first.terms == Terms(
        takes=BUILTIN_TAKES,
        context_tokens=77,
        system_prompt="Be brief.",
        timeout_seconds=2.5,
        price=Price(0.15, 0.6),
    )
    assert second.terms == Terms(takes=BUILTIN_TAKES, context_tokens=1000)
    assert (first.places.most, second.places.most) == (3, None)


async def test_what_an_alias_does_not_say_the_settings_do(load: Load) -> None:
    catalog = await load(
        aliases(a=DEMO), system_prompt="Be kind.", temperature=0.7, context_tokens=5
    )
    model = only(catalog)
    assert model.terms == Terms(takes=BUILTIN_TAKES, context_tokens=5, system_prompt="Be kind.")
    assert model._defaults == Params(temperature=0.7)


async def test_an_alias_may_have_no_system_prompt_where_the_server_has_one(load: Load) -> None:
    catalog = await load(aliases(a=DEMO | {"system_prompt": ""}), system_prompt="Be kind.")
    assert only(catalog).terms.system_prompt is None


@pytest.mark.parametrize(
    ("asked", "defaults", "sent"),
    [
        (Params(), Params(temperature=1), Params(temperature=1)),
        (Params(temperature=0), Params(temperature=1), Params(temperature=0)),
        (Params(stop=("x",)), Params(stop=("y",)), Params(stop=("x",))),
        (Params(json_mode=False), Params(json_mode=True), Params(json_mode=False)),
        (Params(passed={"tools": [1]}), Params(seed=1), Params(seed=1, passed={"tools": [1]})),
    ],
)
def test_what_is_asked_goes_before_what_the_alias_says(
    asked: Params, defaults: Params, sent: Params
) -> None:
    assert asked.over(defaults) == sent


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"fallbacks": ["x"]}, "aliases.a.fallbacks: there is no alias x"),
        ({"fallbacks": ["a"]}, "aliases.a.fallbacks: an alias cannot stand in for itself"),
        ({"fallbacks": ["b", "b"]}, "aliases.a.fallbacks: an alias is named twice"),
        ({"params": {"heat": 1}}, "aliases.a.params.heat: Extra inputs"),
        ({"params": {"temperature": 3}}, "aliases.a.params.temperature: Input should be less"),
        ({"mid_stream": "repeat"}, "aliases.a.mid_stream: Input should be"),
        ({"timeout_seconds": 0}, "aliases.a.timeout_seconds: Input should be greater"),
        ({"max_parallel": 0}, "aliases.a.max_parallel: Input should be greater"),
        ({"context_tokens": "many"}, "aliases.a.context_tokens: Input should be"),
        ({"price": {"input": 1}}, "aliases.a.price.output: Field required"),
        ({"price": {"input": -1, "output": 1}}, "aliases.a.price.input: Input should be"),
    ],
)
async def test_what_is_wrong_is_said_with_file_alias_and_field(
    load: Load, entry: dict[str, Any], said: str
) -> None:
    with pytest.raises(StartupError) as wrong:
        await load(aliases(a=DEMO | entry, b=DEMO))
    assert f"models.json: {said}" in str(wrong.value)


@pytest.mark.parametrize(
    "url", ["ftp://x", "http://", "http://[::1", "http://host:99999", "http://h/v1?key=k", "h/v1"]
)
async def test_an_address_that_is_none_is_refused_where_it_is_written(load: Load, url: str) -> None:
    with pytest.raises(StartupError, match=r"models\.json: aliases\.a\.base_url: "):
        await load(aliases(a=NOWHERE | {"base_url": url}))
    with pytest.raises(StartupError, match="OPENAI_BASE_URL"):
        await load(aliases(a=DEMO), openai_base_url=url)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"model": "m"}, "aliases.a.provider: Field required"),
        ({"provider": "nope", "model": "m"}, "aliases.a.provider: is one of openai, groq, "),
    ],
)
async def test_a_provider_is_a_field_like_others(
    load: Load, entry: dict[str, Any], said: str
) -> None:
    with pytest.raises(StartupError) as wrong:
        await load(aliases(a=entry))
    assert f"models.json: {said}" in str(wrong.value)
    assert "nope" not in str(wrong.value)


async def test_what_is_wrong_with_an_alias_that_a_key_made_is_not_said_of_the_file(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "")
    with pytest.raises(StartupError, match=r"^the environment: bedrock/m\.region: no region"):
        await load(bedrock_model="m")


async def test_all_faults_are_said_at_once_a_line_each(load: Load) -> None:
    with pytest.raises(StartupError) as wrong:
        await load(aliases(a=DEMO | {"fallbacks": ["x"]}, b=DEMO | {"fallbacks": ["y"]}))
    assert len(str(wrong.value).splitlines()) == 2


async def test_params_that_the_provider_does_not_take_are_refused_in_the_file(load: Load) -> None:
    bedrock = {"provider": "bedrock", "model": "amazon.nova-micro-v1:0", "region": "us-east-1"}
    with pytest.raises(StartupError, match=r"aliases\.a\.params\.seed: bedrock does not take it"):
        await load(aliases(a=bedrock | {"params": {"seed": 1}}))


@pytest.mark.parametrize(
    ("provider", "url", "variable"),
    [
        ("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
        ("fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    ],
)
async def test_providers_known_by_name_need_only_their_key(
    load: Load, provider: str, url: str, variable: str
) -> None:
    file = aliases(a={"provider": provider, "model": "m"})
    assert only(await load(file, env={variable: "k"})).ping.key == (url, "k")
    without = await load(file)
    assert without.faults() == [f"a: needs the environment variable {variable}, which is empty"]
    with pytest.raises(RunnelError, match=variable):
        without.candidates("a")


async def test_a_known_provider_may_stand_behind_another_address_and_key(load: Load) -> None:
    entry = {"provider": "groq", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    keys = {"GROQ_API_KEY": "usual", "OTHER": "own"}
    assert only(await load(aliases(a=entry), env=keys)).ping.key == (entry["base_url"], "usual")
    entry |= {"api_key_env": "OTHER"}
    assert only(await load(aliases(a=entry), env=keys)).ping.key == (entry["base_url"], "own")


async def test_a_bedrock_model_in_the_environment_makes_an_alias(load: Load) -> None:
    catalog = await load(bedrock_model="amazon.nova-lite-v1:0", aws_region="eu-west-1")
    (listed,) = catalog.listed()
    assert (listed.alias, listed.provider) == ("bedrock/amazon.nova-lite-v1:0", "bedrock")
    assert only(catalog).ping.key == ("eu-west-1", None, "amazon.nova-lite-v1:0")


async def test_those_that_stand_in_are_asked_if_the_alias_itself_cannot_be(load: Load) -> None:
    broken = NOWHERE | {"api_key_env": "NOT_SET", "fallbacks": ["b", "c"]}
    catalog = await load(aliases(a=broken, b=DEMO, c=DEMO))
    assert [model.alias for model in catalog.candidates("a").models] == ["b", "c"]
    assert [each.available for each in catalog.listed()] == [False, True, True]


async def test_fallbacks_of_fallbacks_are_not_asked(load: Load) -> None:
    catalog = await load(
        aliases(a=DEMO | {"fallbacks": ["b"]}, b=DEMO | {"fallbacks": ["c"]}, c=DEMO)
    )
    assert [model.alias for model in catalog.candidates("a").models] == ["a", "b"]


async def test_a_price_is_known_by_the_alias(load: Load) -> None:
    catalog = await load(aliases(a=DEMO | {"price": {"input": 1, "output": 1}}))
    usage = Usage(1, 2, "provider")
    assert catalog.priced("a", usage) == replace(usage, cost=3e-06)
    assert catalog.priced("gone", usage) == usage


async def test_unreadable_files_and_graphs_are_named(load: Load) -> None:
    for graph, said in (
        ("no_such_module:graph", "No module named"),
        ("json:graph", "has no attribute"),
        ("json:dumps", "is no compiled graph"),
    ):
        with pytest.raises(StartupError, match=rf"aliases\.a\.graph: .*{said}"):
            await load(aliases(a={"provider": "langgraph", "graph": graph}))


async def test_reading_anew_keeps_the_places_of_an_alias_that_stays_as_it_was(load: Load) -> None:
    catalog = await load(aliases(a=DEMO | {"max_parallel": 1}))
    before = only(catalog).places
    await catalog.load()
    assert only(catalog).places is before


async def test_a_bad_file_changes_nothing(load: Load, tmp_path: Path) -> None:
    catalog = await load(aliases(a=DEMO))
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(StartupError, match="no valid JSON"):
        await catalog.reload()
    assert only(catalog).alias == "a"


async def test_who_does_not_answer_is_unavailable_until_it_does(load: Load) -> None:
    catalog = await load(aliases(a=NOWHERE, b=NOWHERE | {"model": "n"}, c=DEMO))
    await catalog.check()
    assert [each.available for each in catalog.listed()] == [False, False, True]
    with pytest.raises(RunnelError, match="a cannot be asked just now") as refused:
        catalog.candidates("a")
    assert (refused.value.code, refused.value.retryable) == (Code.MODEL_UNAVAILABLE, True)
    assert len(catalog.faults()) == 2


def test_every_param_of_ours_is_taken_by_openais_wire() -> None:
    ours = {"temperature", "top_p", "max_tokens", "seed", "stop", "json_mode"}
    assert ours <= OPENAI_TAKES


async def test_the_example_that_is_shipped_is_good(load: Load) -> None:
    example = Path(__file__).parents[2] / "config" / "models.example.json"
    keys = dict.fromkeys(("GROQ_API_KEY", "FIREWORKS_AI_API_KEY", "TEAM_KEY"), "k")
    catalog = await load(example.read_text(), env=keys, openai_api_key="k")
    assert catalog.faults() == []
    assert len(catalog.listed()) > 5


@pytest.mark.parametrize("key", ["sk-\u2026", "sk-1\n", " sk"])
async def test_a_key_that_no_header_holds_is_named_by_its_variable(load: Load, key: str) -> None:
    catalog = await load(aliases(a=NOWHERE | {"api_key_env": "K"}), env={"K": key})
    await catalog.check()
    (fault,) = catalog.faults()
    assert fault.startswith("a: needs the environment variable K, which holds what no key has")
    assert key.strip() not in fault


async def test_a_ping_that_raises_anything_ends_nothing(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = await load(aliases(a=NOWHERE, b=DEMO))

    async def broken() -> None:
        raise LookupError("of the client's own")

    monkeypatch.setattr(catalog._aliases.models["a"], "ping", Ping("a", broken))
    await catalog.check()
    assert catalog.faults() == ["a: the provider could not be asked (LookupError)"]


async def test_users_are_not_told_where_a_provider_is(load: Load) -> None:
    catalog = await load(aliases(a=NOWHERE))
    await catalog.check()
    with pytest.raises(RunnelError) as told:
        catalog.candidates("a")
    assert told.value.message == "a cannot be asked just now."
    assert "127.0.0.1" in catalog.faults()[0]


async def test_a_refused_file_leaves_the_places_as_they_were(load: Load, tmp_path: Path) -> None:
    good = aliases(a=DEMO | {"max_parallel": 2})
    catalog = await load(good)
    before = only(catalog).places
    file = tmp_path / "models.json"
    file.write_text(
        json.dumps(aliases(a=DEMO | {"max_parallel": 3}, b=DEMO | {"fallbacks": ["x"]}))
    )
    with pytest.raises(StartupError):
        await catalog.reload()
    file.write_text(json.dumps(good))
    await catalog.reload()
    assert only(catalog).places is before


async def test_while_a_reload_asks_who_was_down_stays_down(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = await load(aliases(a=NOWHERE | {"fallbacks": ["b"]}, b=DEMO))
    await catalog.check()
    seen: list[str] = []
    asked_all = catalog._asked_all

    async def look_meanwhile(models: Any) -> Any:
        seen.extend(model.alias for model in catalog.candidates("a").models)
        return await asked_all(models)

    monkeypatch.setattr(catalog, "_asked_all", look_meanwhile)
    await catalog.reload()
    assert seen == ["b"]


async def test_a_wrong_default_is_told_beside_the_other_faults(load: Load) -> None:
    with pytest.raises(StartupError) as wrong:
        await load({"default": "x", **aliases(a=DEMO | {"fallbacks": ["y"]})})
    assert len(str(wrong.value).splitlines()) == 2
