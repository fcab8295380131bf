"""The built-in demo model: a real LangChain chat model that needs no key and no network.

It says that it is a demo. It must never be mistaken for a language model.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

from langchain_core.callbacks import (
    AsyncCallbackManagerForLLMRun,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from typing_extensions import override

from runnel.chat.entities import Params
from runnel.errors import Code, RunnelError
from runnel.models.demo_text import compose
from runnel.models.langchain import Entry, LangChainModel, speaking

_TOKEN: Final = re.compile(r"\s*[^\s]{1,12}|\s+")


class DemoChatModel(BaseChatModel):
    """Streams a helpful text about this server at `tokens_per_second`."""

    tokens_per_second: float

    @property
    @override
    def _llm_type(self) -> str:
        return "runnel-demo"

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = list(_chunks(messages, stop, **kwargs))
        message = AIMessage(
            content="".join(str(chunk.content) for chunk in chunks),
            response_metadata=chunks[-1].response_metadata,
            usage_metadata=chunks[-1].usage_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        # Paced by the clock, not by pauses, so that a busy server does not slow it down.
        loop = asyncio.get_running_loop()
        due = loop.time()
        for chunk in _chunks(messages, stop, **kwargs):
            await asyncio.sleep(due - loop.time())
            due += 1 / self.tokens_per_second
            if run_manager is not None:
                await run_manager.on_llm_new_token(str(chunk.content))
            yield ChatGenerationChunk(message=chunk)


def _chunks(
    messages: Sequence[BaseMessage],
    stop: Sequence[str] | None,
    *,
    max_tokens: int | None = None,
    json_mode: bool = False,
    **_: Any,
) -> Iterator[AIMessageChunk]:
    text = compose([(message.type, str(message.text)) for message in messages])
    if json_mode:
        text = json.dumps({"answer": text, "demo": True}, ensure_ascii=False)
    text = _before_any(stop or (), text)
    tokens: list[str] = _TOKEN.findall(text)
    cut = max_tokens is not None and len(tokens) > max_tokens
    if cut:
        tokens = tokens[:max_tokens]
    for token in tokens:
        yield AIMessageChunk(content=token)
    asked = sum(len(_TOKEN.findall(str(message.text))) for message in messages)
    yield AIMessageChunk(
        content="",
        response_metadata={"finish_reason": "length" if cut else "stop"},
        usage_metadata=UsageMetadata(
            input_tokens=asked, output_tokens=len(tokens), total_tokens=asked + len(tokens)
        ),
    )


def _before_any(stops: Sequence[str], text: str) -> str:
    ends = [text.find(stop) for stop in stops if stop in text]
    return text[: min(ends)] if ends else text


def build(entry: Entry, *, tokens_per_second: float) -> LangChainModel:
    """The demo under an alias."""
    chat_model = DemoChatModel(tokens_per_second=tokens_per_second)
    return LangChainModel(entry, speaking(chat_model, _call_options), _translate)


def _call_options(params: Params) -> dict[str, Any]:
    return {
        "max_tokens": params.max_tokens,
        "json_mode": bool(params.json_mode),
        "stop": list(params.stop),
    }


def _translate(error: Exception, *, begun: bool) -> RunnelError:
    return RunnelError(
        Code.UPSTREAM_INCOMPLETE if begun else Code.UPSTREAM_ERROR, f"The demo failed: {error!r}"
    )
