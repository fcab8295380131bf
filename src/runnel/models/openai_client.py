"""LangChain's client of OpenAI's wire, set to leave to us what is ours, and made fast.

It remains a LangChain model: `astream` gives the chunks that the stock class would.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Final, cast

import openai
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI

from runnel.chat.entities import Turn
from runnel.chat.model_ports import Piece, Said
from runnel.models.langchain import Translate
from runnel.models.messages import messages_of
from runnel.models.openai_address import Address
from runnel.models.openai_wire import Chunk, Wire, WireAnswer
from runnel.models.pieces import CALLS, Pieces, counted

#: What the SDK takes beside the body.
_BESIDE: Final = frozenset({"extra_headers", "extra_query", "timeout"})
_OWN_ROLES: Final = ("assistant", None)


class SdkClient(ChatOpenAI):
    """LangChain's client, which is not shown the calls of tools that an answer makes.

    It would read each piece of them as JSON, and all of them joined at the end, by taking off one
    character after the other: 80 kB that are no JSON stop the server for half a minute.
    """

    def _convert_chunk_to_generation_chunk(
        self,
        chunk: dict[str, Any],
        default_chunk_class: type,
        base_generation_info: dict[str, Any] | None,
    ) -> ChatGenerationChunk | None:
        calls: list[Any] = []
        for choice in cast("list[dict[str, Any]]", chunk.get("choices") or []):
            delta = cast("dict[str, Any]", choice.get("delta") or {})
            calls += delta.pop("tool_calls", None) or ()
            if refusal := delta.pop("refusal", None):
                # LangChain drops it; to whoever asked it is what the model says.
                delta["content"] = f"{delta.get('content') or ''}{refusal}"
        generation = super()._convert_chunk_to_generation_chunk(  # pyright: ignore[reportUnknownMemberType] - its dicts have no types
            chunk, default_chunk_class, base_generation_info
        )
        if generation is not None and calls:
            setattr(generation.message, CALLS, calls)  # kept by no merge, and so never joined
        return generation


class DirectClient(SdkClient):
    """The same, which reads the wire itself: its `async_client` is a `Completions`."""

    async def batches(
        self, pieces: Pieces, turns: Sequence[Turn], fault: Translate, **options: Any
    ) -> AsyncGenerator[Sequence[Said]]:
        """What `astream` gives, as pieces, in batches of what has come together. A chunk that
        brings nothing but text, the answer's end or its tokens' count never becomes a message.
        LangChain's callbacks are not told.

        Raises what `fault` makes of whatever goes wrong: here, for each generator around this one
        would be woken by each token.
        """
        begun = False
        try:
            async with await self._ask(messages_of(turns), **options) as answer:
                while chunks := await answer.next():
                    said: list[Said] = []
                    try:
                        for chunk in chunks:
                            text = _text_alone(chunk)
                            if text is not None:
                                said.append(pieces.spoken(text))
                            elif (piece := self._piece(pieces, chunk)) is not None:
                                said.append(piece)
                    except Exception:
                        if said:  # what came before the fault is said before it
                            yield said
                            begun = True
                        raise
                    if said:
                        yield said
                        begun = True
        except Exception as error:
            raise fault(error, begun=begun) from error
        if not begun:
            nothing = ValueError("No generation chunks were returned")  # LangChain's word for it
            raise fault(nothing, begun=False)

    async def _ask(self, messages: Sequence[BaseMessage], **options: Any) -> WireAnswer:
        payload = cast(
            "dict[str, Any]",
            self._get_request_payload(  # pyright: ignore[reportUnknownMemberType] - its dict has no types
                list(messages), stream=True, stream_options={"include_usage": True}, **options
            ),
        )
        return await cast("Completions", self.async_client).stream(payload)

    def _piece(self, pieces: Pieces, chunk: Chunk) -> Piece | None:
        if (end := _ending(pieces, chunk)) is not None:
            return end
        message = self._message(chunk)
        return None if message is None else pieces.piece(message)

    def _message(self, chunk: Chunk) -> AIMessageChunk | None:
        generation = self._convert_chunk_to_generation_chunk(chunk, AIMessageChunk, None)
        if generation is None:
            return None
        message = cast("AIMessageChunk", generation.message)
        message.response_metadata = (generation.generation_info or {}) | message.response_metadata
        return message


def _text_alone(chunk: Chunk) -> str | None:
    """The text of a chunk that says nothing else of the answer; None of any other chunk."""
    choices = cast("Sequence[dict[str, Any]] | None", chunk.get("choices"))
    if not choices or len(choices) > 1 or chunk.get("usage"):
        return None
    choice = choices[0]
    delta = cast("dict[str, Any] | None", choice.get("delta"))
    if not delta or choice.get("finish_reason"):
        return None
    return _text_of(delta)


def _ending(pieces: Pieces, chunk: Chunk) -> Piece | None:
    """What a chunk says that brings why the answer ended, how many tokens it took, or both, and
    text at most; None of any other chunk.
    """
    text, reason = "", None
    if choices := cast("Sequence[dict[str, Any]] | None", chunk.get("choices")):
        choice = choices[0]
        delta = cast("dict[str, Any] | None", choice.get("delta"))
        said = None if delta is None or len(choices) > 1 else _text_of(delta)
        if said is None:
            return None
        text, reason = said, choice.get("finish_reason")
    count = cast("object", chunk.get("usage"))
    if not count:
        return pieces.ending(text, reason, None) if reason else None
    if not isinstance(count, dict):
        return None
    usage = cast("dict[str, object]", count)
    found = usage.get("prompt_tokens"), usage.get("completion_tokens")
    prompt, completion = (0 if tokens is None else tokens for tokens in found)
    if not (isinstance(prompt, int) and isinstance(completion, int)):
        return None
    return pieces.ending(text, reason, counted(prompt, completion))


def _text_of(delta: Mapping[str, Any]) -> str | None:
    """The text of a delta that has nothing else for a reader."""
    if (len(delta) > 1 or "content" not in delta) and (
        delta.get("tool_calls")
        or delta.get("refusal")
        or delta.get("function_call")
        or delta.get("role") not in _OWN_ROLES
    ):
        return None
    content = delta.get("content") or ""
    return content if isinstance(content, str) else None


class Completions:
    """Stands where LangChain has the SDK's `chat.completions`: streams come over `wire`, all else
    over the SDK.
    """

    def __init__(self, wire: Wire, sdk: openai.AsyncOpenAI) -> None:
        self._wire = wire
        self._sdk = sdk.chat.completions
        path, mark, query = sdk.base_url.raw_path.partition(b"?")
        url = sdk.base_url.copy_with(raw_path=path + b"chat/completions" + mark + query)
        given = {**sdk.default_headers, **sdk.auth_headers}
        headers = {name: value for name, value in given.items() if isinstance(value, str)}
        self._address = Address(url, headers)

    @property
    def with_raw_response(self) -> Any:
        return self._sdk.with_raw_response

    async def create(self, **payload: Any) -> object:
        if payload.get("stream") and not _BESIDE & payload.keys():
            return await self.stream(payload)
        return cast("object", await self._sdk.create(**payload))

    async def stream(self, payload: Mapping[str, Any]) -> WireAnswer:
        """Raises as Wire.ask does."""
        body = {
            name: value
            for name, value in payload.items()
            if name != "extra_body" and not isinstance(value, openai.NotGiven | openai.Omit)
        }
        more = cast("Mapping[str, Any]", payload.get("extra_body") or {})
        return await self._wire.ask(self._address, {**body, **more})
