"""Small graphs as an operator might write them: `graphs:agent` and so on in models.json.

What their models ask is at the address in GRAPHS_URL; at the one in GRAPHS_NOWHERE is nothing.
"""

import asyncio
import os
from functools import cache
from typing import Any, Final

import httpx2
from langchain_core.messages import AIMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import SecretStr

ADDRESS: Final = "GRAPHS_URL"
NOWHERE: Final = "GRAPHS_NOWHERE"


@cache
def _client_of(_: asyncio.AbstractEventLoop) -> httpx2.AsyncClient:
    """LangChain's own is the whole process', and cannot serve two servers in two loops."""
    return httpx2.AsyncClient()


def _model(name: str, address: str = ADDRESS) -> Any:
    # Any: LangChain leaves parts of its types open, as LangGraph does below.
    return ChatOpenAI(
        model=name,
        base_url=os.environ[address],
        api_key=SecretStr("none"),
        http_async_client=_client_of(asyncio.get_running_loop()),
        stream_usage=True,
        max_retries=0,
    )


@tool
def weather(town: str) -> str:
    """The weather in a town."""
    return f"secret result: rain in {town}"


async def _ask(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await _model("test").ainvoke(state["messages"])]}


async def _ask_nobody(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await _model("test", NOWHERE).ainvoke(state["messages"])]}


async def _ask_with_tools(state: MessagesState) -> dict[str, Any]:
    model = _model("test").bind_tools([weather])
    return {"messages": [await model.ainvoke(state["messages"])]}


async def _review(state: MessagesState) -> dict[str, Any]:
    asked = [SystemMessage("Review this."), *state["messages"]]
    return {"messages": [await _model("reviewer").ainvoke(asked)]}


async def _say(_: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage("I am no model, but I answer.")]}


async def _fail(_: MessagesState) -> dict[str, Any]:
    raise KeyError("secret words of the graph")


async def _ask_and_fail(state: MessagesState) -> dict[str, Any]:
    await _ask(state)
    raise KeyError("secret words of the graph")


def _line(*nodes: Any) -> Any:
    graph: Any = StateGraph(MessagesState)
    names = [f"step{number}" for number in range(len(nodes))]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph.compile()


def _agent() -> Any:
    graph: Any = StateGraph(MessagesState)
    graph.add_node("model", _ask_with_tools)
    graph.add_node("tools", ToolNode([weather]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


asking = _line(_ask)
deserted = _line(_ask_nobody)
agent = _agent()
reviewed = _line(_ask, _review)
modelless = _line(_say)
failing = _line(_fail)
failing_late = _line(_ask_and_fail)
uncompiled = StateGraph(MessagesState)


class Box:
    """A graph that stands deeper in its module."""

    inner = _line(_say)
