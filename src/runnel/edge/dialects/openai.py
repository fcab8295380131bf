"""OpenAI's chat-completions wire: one answer as chunks, or whole, and errors in its shape.

A stream is read by clients that know no positions and cannot come again: what does not end well
ends with an error, and never looks whole.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, assert_never

import orjson

from runnel.chat.entities import Generation, Status
from runnel.edge.dialects.sse import DONE
from runnel.errors import Code, RunnelError
from runnel.events import Aborted, Batch, End, Event, Failed, Reset, Start, Token, ToolCall, Usage

_SERVER_FAULT: Final = 500
#: Codes for which clients of this wire know a word of its own.
_CODES: Final[Mapping[str, str]] = {
    Code.UNAUTHORIZED: "invalid_api_key",
    Code.UNKNOWN_MODEL: "model_not_found",
    Code.RATE_LIMITED: "rate_limit_exceeded",
}
_TYPES: Final[Mapping[int, str]] = {429: "rate_limit_error"}
#: Line ends to some readers, though to none that keeps to the standard. JSON can spell them out.
_LINE_ENDS: Final = (
    (b"\xc2\x85", b"\\u0085"),
    (b"\xe2\x80\xa8", b"\\u2028"),
    (b"\xe2\x80\xa9", b"\\u2029"),
)


@dataclass(frozen=True, slots=True)
class Identity:
    """What every chunk of an answer says of it, and the whole one."""

    generation_id: str
    created_at: datetime
    model: str

    def members(self, kind: str) -> dict[str, Any]:
        return {
            "id": f"chatcmpl-{self.generation_id}",
            "object": kind,
            "created": int(self.created_at.timestamp()),
            "model": self.model,
        }


class Chunks:
    """The frames of one stream, in their order: `opening` first, and nothing once it is `over`.

    `usage`: the client asked for the tokens, in a last chunk of their own.
    """

    def __init__(self, answer: Identity, *, usage: bool) -> None:
        self.over = False
        self._answer = answer.members("chat.completion.chunk")
        self._usage = usage
        self._said = False
        self._void = False  # whether what had come before may be missing
        self._calls = False

    def opening(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def frames(self, batches: Iterable[Batch]) -> bytes:
        return b"".join(self._frame(event) for batch in batches for event in batch.events)

    def broken_off(self) -> bytes:
        """The end of a stream that was told no end."""
        return self._fault(
            Code.INTERRUPTED, "The server broke off before the answer was whole. Ask again."
        )

    def _frame(self, event: Event) -> bytes:
        frame = b""
        match event:
            case _ if self.over:
                pass
            case Start():
                pass
            case Token():
                frame = self._say(event.text)
            case ToolCall():
                self._said = self._calls = True
                frame = self._chunk({"tool_calls": [_call_piece(event)]})
            case Reset():
                frame = self._begun_anew(event)
            case End():
                frame = self._end(event)
            case Aborted():
                # A word of ours: what somebody else cut must not be taken for the whole.
                frame = self._finish("aborted", event.usage)
            case Failed():
                frame = self._fault(event.code, event.message)
            case _:
                assert_never(event)
        return frame

    def _say(self, text: str) -> bytes:
        self._said = True
        return self._chunk({"content": text})

    def _begun_anew(self, reset: Reset) -> bytes:
        if self._said:
            return self._fault(
                Code.INTERRUPTED,
                "The answer was begun anew, so that what was sent of it is void. Ask again.",
            )
        self._void = True
        return self._say(reset.text) if reset.text else b""

    def _end(self, end: End) -> bytes:
        if end.finish_reason == "tool_calls" and self._void and not self._calls:
            return self.broken_off()  # the row, which told this, keeps no calls
        self._answer["model"] = end.model  # by now it is known who served
        return self._finish(end.finish_reason, end.usage)

    def _finish(self, reason: str, usage: Usage) -> bytes:
        self.over = True
        frames = self._chunk({}, reason)
        if self._usage:
            frames += _data({**self._answer, "choices": [], "usage": _usage(usage)})
        return frames + _DONE

    def _fault(self, code: str, message: str) -> bytes:
        self.over = True
        return _data(error(_SERVER_FAULT, code, message)) + _DONE

    def _chunk(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        # Null until the last one, where they were asked for.
        usage = {"usage": None} if self._usage else {}
        return _data({**self._answer, "choices": [choice], **usage})


def completion(ended: Generation, beside: Sequence[ToolCall | Reset]) -> dict[str, Any]:
    """A whole answer, under the name of the alias that served it.

    `beside` is what its row does not keep. Raises RunnelError `stream_unavailable` if of that
    something is lost.
    """
    assert ended.usage is not None
    calls = _joined(event for event in beside if isinstance(event, ToolCall))
    if ended.finish_reason == "tool_calls" and beside and not calls:
        raise RunnelError(
            Code.STREAM_UNAVAILABLE, "What the answer calls was lost. Ask again.", retry_after=1
        )
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if calls and not ended.text else ended.text,
        "refusal": None,
    }
    if calls:
        message["tool_calls"] = [_call(call) for call in calls]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "aborted" if ended.status is Status.ABORTED else ended.finish_reason,
    }
    answer = Identity(ended.id, ended.created_at, ended.model)
    return {
        **answer.members("chat.completion"),
        "choices": [choice],
        "usage": _usage(ended.usage),
    }


def error(status: int, code: str, message: str, param: str | None = None) -> dict[str, Any]:
    """An error in this wire's shape; `status` is the one it has, or would have, over HTTP."""
    kind = "server_error" if status >= _SERVER_FAULT else "invalid_request_error"
    return {
        "error": {
            "message": message,
            "type": _TYPES.get(status, kind),
            "param": param,
            "code": _CODES.get(code, code),
        }
    }


_DONE: Final = DONE + b"\n"


def _call_piece(call: ToolCall) -> dict[str, Any]:
    # Only the first piece names the call: who joins pieces would else have its name many times.
    function = {"arguments": call.arguments} | ({"name": call.name} if call.name else {})
    named = {"id": call.id, "type": "function"} if call.id else {}
    return {"index": call.index, **named, "function": function}


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id or "",
        "type": "function",
        "function": {"name": call.name or "", "arguments": call.arguments},
    }


def _joined(pieces: Iterable[ToolCall]) -> list[ToolCall]:
    """Whole calls of tools, in their order, from the pieces in which they came."""
    calls: dict[int, ToolCall] = {}
    arguments: dict[int, list[str]] = {}
    for piece in pieces:
        first = calls.setdefault(piece.index, piece)
        calls[piece.index] = ToolCall(
            piece.index, first.id or piece.id, first.name or piece.name, ""
        )
        arguments.setdefault(piece.index, []).append(piece.arguments)
    return [
        ToolCall(index, call.id, call.name, "".join(arguments[index]))
        for index, call in sorted(calls.items())
    ]


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }


def _data(value: Mapping[str, Any]) -> bytes:
    json = orjson.dumps(value)
    for line_end, spelt_out in _LINE_ENDS:
        json = json.replace(line_end, spelt_out)
    return b"data: " + json + b"\n\n"
