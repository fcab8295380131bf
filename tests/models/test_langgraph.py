"""LangGraph graphs as models: what their models say is the answer, and nothing else is."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import graphs
from entries import entry
from loading import Load
from provider import Answer, Provider
from provider_script import reasoning, tool_call
from reading import parsed_events
from runnel.chat.entities import Params, Turn
from runnel.errors import Code, RunnelError, StartupError
from runnel.events import Usage
from runnel.models import langgraph
from runnel.models.langchain import LangChainModel
from saying import QUESTION, pieces_of, said
from sockets import opened
from wire import Serve

CALL = Answer(
    [
        "Let me see.",
        tool_call(0, call_id="call-a", name="weather"),
        tool_call(0, '{"town":'),
        tool_call(0, ' "Ulm"}'),
    ],
    finish_reason="tool_calls",
    usage=(20, 7),
)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    with Provider() as standing:
        monkeypatch.setenv(graphs.ADDRESS, standing.url)
        yield standing


def graph(name: str) -> LangChainModel:
    return langgraph.build(entry("chat/graph", provider="langgraph", model=f"graphs:{name}"))


async def test_its_models_answer_comes_token_by_token(provider: Provider) -> None:
    provider.answer("test", Answer(["One", " two", " three"]))
    answer = await said(graph("asking"))
    assert answer.texts == ["One", " two", " three"]
    assert (answer.reasons, answer.usages) == (["stop"], [Usage(10, 5, "provider")])


async def test_system_and_history_are_the_graphs_messages(provider: Provider) -> None:
    turns = [
        Turn("system", "Be kind."),
        Turn("user", "One?"),
        Turn("assistant", "Two."),
        Turn("user", "Three?"),
    ]
    await said(graph("asking"), turns)
    sent = [(each["role"], each["content"]) for each in provider.asks[0].body["messages"]]
    assert sent == [(turn.role, turn.text) for turn in turns]


async def test_an_agents_tools_are_its_own(provider: Provider) -> None:
    provider.answer("test", CALL, Answer([reasoning("secret thought"), "It", " rains."]))
    answer = await said(graph("agent"))
    # Two messages of a model are two paragraphs.
    assert answer.text == "Let me see.\n\nIt rains."
    assert answer.calls == {}
    assert "secret" not in repr(answer.texts)
    result = provider.asks[1].body["messages"][-1]
    assert (result["role"], result["content"]) == ("tool", "secret result: rain in Ulm")
    # Nobody else is to call them, and what was spent is the sum.
    assert answer.reasons == ["stop"]
    assert answer.usages == [Usage(30, 12, "provider")]


async def test_what_two_models_say_is_one_answer(provider: Provider) -> None:
    provider.answer("test", Answer(["A", " draft."]))
    provider.answer("reviewer", Answer(["Good", " enough."], finish_reason="length"))
    answer = await said(graph("reviewed"))
    assert answer.texts == ["A", " draft.", "\n\nGood", " enough."]
    assert answer.reasons == ["length"]
    assert answer.usages == [Usage(20, 10, "provider")]


async def test_a_graph_without_a_model_may_answer() -> None:
    answer = await said(graph("modelless"))
    assert (answer.text, answer.reasons) == ("I am no model, but I answer.", ["stop"])
    assert answer.usages == []


async def test_a_graph_may_stand_deeper_in_its_module() -> None:
    assert (await said(graph("Box.inner"))).text == "I am no model, but I answer."


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("failing", Code.UPSTREAM_ERROR, ""),
        ("failing_late", Code.UPSTREAM_INCOMPLETE, "Hello world"),
    ],
)
@pytest.mark.usefixtures("provider")
async def test_what_a_graph_raises_is_its_failure_and_not_told(
    name: str, code: Code, text: str
) -> None:
    got: list[str] = []

    async def read() -> None:
        async for batch in graph(name).stream(QUESTION, Params()):
            got.extend(piece.text for piece in pieces_of(batch))

    with pytest.raises(RunnelError, match=r"^The graph of chat/graph failed") as failed:
        await read()
    assert failed.value.code == code
    assert "secret" not in failed.value.message
    assert "".join(got) == text


async def test_leaving_stops_the_graph_and_its_model(provider: Provider) -> None:
    provider.answer("test", Answer(["One", " two"], stall_after=1))
    stream = graph("reviewed").stream(QUESTION, Params())
    async for batch in stream:
        if pieces_of(batch)[0].text:
            break
    await stream.aclose()
    await asyncio.to_thread(provider.client_left.wait_at_least, 1, 1)
    assert [ask.body["model"] for ask in provider.asks] == ["test"]


def test_an_agents_answer_over_http_is_its_models_text_and_no_more(
    serve: Serve, provider: Provider
) -> None:
    provider.answer("test", CALL, Answer([reasoning("secret thought"), "It", " rains."]))
    server = serve(models=serving("graphs:agent"))
    headers = server.user("ana").headers
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        streamed = client.post("/api/generate", json={"prompt": "Rain?", "format": "events"})
    *tokens, end = parsed_events(streamed.content)
    assert [token.data["text"] for token in tokens if token.name == "token"] == [
        "Let me see.",
        "\n\nIt",
        " rains.",
    ]
    assert "secret" not in streamed.text
    assert end.data["usage"] == {
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "total_tokens": 42,
        "source": "provider",
    }
    assert (end.data["finish_reason"], end.data["provider_model"]) == ("stop", "graphs:agent")


async def test_a_piece_says_which_node_speaks(provider: Provider) -> None:
    provider.answer("test", Answer(["A", " draft."]))
    provider.answer("reviewer", Answer(["Good."]))
    agents = [
        piece.agent
        async for batch in graph("reviewed").stream(QUESTION, Params())
        for piece in pieces_of(batch)
        if piece.text
    ]
    assert agents == ["step0", "step0", "step1"]


async def test_the_node_that_spoke_last_is_shown_as_the_agent(
    serve: Serve, provider: Provider
) -> None:
    models = serving("graphs:reviewed")
    models["aliases"]["chat/plain"] = {"provider": "openai", "model": "p", "base_url": provider.url}
    server = serve(models=models | {"default": "chat/graph"})
    user = server.user("ana")
    async with opened(server, "/ws/room", user) as socket:
        session_id = (await socket.next())["session_id"]
        used: list[str] = []
        for model in ("chat/graph", "chat/plain"):
            await socket.send({"type": "message", "content": "Rain?", "model": model})
            while (frame := await socket.next())["type"] != "stream_end":
                pass
            used.append(frame["metadata"]["agent_used"])
    assert used == ["step1", "chat/plain"]
    async with server.client(user) as client:
        shown = await client.get(f"/api/chat/sessions/{session_id}/messages")
        streamed = await client.post("/api/generate", json={"prompt": "Sun?", "format": "events"})
    answers = [each for each in shown.json()["messages"] if each["role"] == "assistant"]
    assert [each["metadata"]["agent_used"] for each in answers] == used
    assert "agent" not in parsed_events(streamed.content)[-1].data


async def test_its_name_is_what_models_json_says(load: Load) -> None:
    catalog = await load(serving("graphs:asking"))
    [model] = catalog.candidates("chat/graph").models
    assert (model.provider, model.provider_model) == ("langgraph", "graphs:asking")
    assert model.terms.takes == {"images"}


def serving(name: str, **fields: Any) -> dict[str, Any]:
    return {"aliases": {"chat/graph": {"provider": "langgraph", "graph": name, **fields}}}


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
        ("graph = 1", "no compiled graph"),
        ("graph = [].nothing", "AttributeError: .*nothing"),
        ("raise OSError('no such disk')", "OSError: no such disk"),
        ("other = 1", "no attribute 'graph'"),
        ("import langgraph.not_there", "pip install langgraph"),
    ],
    ids=["import", "no graph", "attribute", "raises", "other name", "extra"],
)
async def test_a_graph_that_cannot_be_had_is_said_at_the_start(
    load: Load, tmp_path: Path, source: str, why: str
) -> None:
    module = f"broken_{abs(hash(source))}"
    (tmp_path / f"{module}.py").write_text(source)
    with pytest.raises(StartupError, match=rf"models\.json: aliases\.chat/graph\.graph: .*{why}"):
        await load(serving(f"{module}:graph"))
    sys.modules.pop(module, None)


async def test_a_graph_that_is_not_compiled_is_said_at_the_start(load: Load) -> None:
    with pytest.raises(StartupError, match=r"uncompiled is no compiled graph; call \.compile\(\)"):
        await load(serving("graphs:uncompiled"))


async def test_params_in_models_json_are_refused_by_name(load: Load) -> None:
    where = r"aliases\.chat/graph\.params\.temperature: langgraph does not take it"
    with pytest.raises(StartupError, match=where):
        await load(serving("graphs:asking", params={"temperature": 1}))
