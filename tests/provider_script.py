"""What the stand-in provider says: answers as data, and their bytes in OpenAI's wire format.

Nothing here does I/O: `provider` carries these bytes over a real connection.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

JsonObject = dict[str, Any]
"""A JSON object from outside: the client decides what is in it, so `Any` is its honest type."""

BEFORE_HEADERS = -1
"""A place in an answer, for `gate_after`, `stall_after`, `cut_after`: before the status line."""

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "transfer-encoding": "chunked",
}
WHOLE_HEADERS = {"content-type": "application/json"}


@dataclass(frozen=True)
class Answer:
    """What the provider does with one request.

    A place in an answer is a number of pieces: 0 is after the headers and the role chunk, before
    the first piece; `len(pieces)` is after the last, before the chunk with the finish reason;
    `BEFORE_HEADERS` is before all. An answer that is not streamed is sent whole after it passed
    all its places. Where one place has more than one meaning, the order is gate, stall, cut.
    """

    pieces: Sequence[str | bytes | JsonObject] = ("Hello", " world")
    """str: the `delta.content` of one chunk. dict: the whole `delta` of one, as `tool_call` and
    `reasoning` make. bytes: put on the wire as they are, in the place of an SSE event (write the
    closing blank line too). All but text is left out of an answer that is not streamed."""

    finish_reason: str | None = "stop"
    """None: the stream ends without the chunk that carries a finish reason."""

    usage: tuple[int, int] | None = (10, 5)
    """Prompt and completion tokens. A stream tells them only if asked by
    `stream_options.include_usage`, in a last chunk without choices. None: never told."""

    delay: float = 0.0
    """Seconds between one piece and the next."""

    status: int = 200
    """HTTP status. Any other than 200 is sent with an error body and no pieces."""

    error_message: str = "The stand-in provider was told to fail."
    error_code: str | None = None
    """`error.message` and `error.code` of the error body."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Response headers, names in lower case, over the usual ones. An empty value takes the header
    of that name away."""

    body: bytes | None = None
    """The whole response body, in the place of pieces, completion or error."""

    gate_after: int | None = None
    """At this place wait for `Provider.release`."""

    stall_after: int | None = None
    """At this place send nothing more and keep the connection open until the client leaves."""

    cut_after: int | None = None
    """At this place close the connection, the response unfinished."""

    escape: bool = False
    """JSON in ASCII with `\\u` escapes: a character beyond the BMP is two escapes, which two
    pieces may share. When False, a lone surrogate goes out as invalid UTF-8."""

    split_bytes: int | None = None
    """Write the body in pieces of this many bytes, each a TCP write and (streams) an HTTP chunk
    of its own, so that the client's parser meets exactly these cuts."""

    done: bool = True
    """End the stream with `data: [DONE]`."""


Script = Answer | Callable[[JsonObject], Answer]
"""An answer, or what makes one from the body of the request."""


@dataclass(frozen=True)
class Voice:
    """One answer said to one request body: all that is to be written, one TCP write an item.

    Only a stream says something before its end.
    """

    answer: Answer
    ask: JsonObject
    number: int = 0
    """Tells the ids of answers apart."""

    def beginning(self) -> Iterator[bytes]:
        """The headers and the first chunk, a role without text."""
        if self._streamed:
            yield self._head(STREAM_HEADERS)
            yield from self._framed(self._chunk({"role": "assistant", "content": ""}))

    def piece(self, piece: str | bytes | JsonObject) -> Iterator[bytes]:
        if self._streamed:
            delta = {"content": piece} if isinstance(piece, str) else piece
            yield from self._framed(delta if isinstance(delta, bytes) else self._chunk(delta))

    def ending(self) -> Iterator[bytes]:
        """All that follows the last piece."""
        if self._streamed:
            for event in self._closing_events():
                yield from self._framed(event)
            yield b"0\r\n\r\n"
        else:
            body = self._whole_body()
            yield self._head(WHOLE_HEADERS | {"content-length": str(len(body))})
            yield from self._split(body)

    @property
    def _streamed(self) -> bool:
        answer = self.answer
        return answer.body is None and answer.status == 200 and self.ask.get("stream") is True

    @property
    def _usage_asked(self) -> bool:
        options: JsonObject = self.ask.get("stream_options") or {}
        return options.get("include_usage") is True

    def _closing_events(self) -> Iterator[bytes]:
        answer = self.answer
        if answer.finish_reason is not None:
            yield self._chunk({}, finish_reason=answer.finish_reason)
        if self._usage_asked and answer.usage is not None:
            yield self._event({"choices": [], "usage": _usage(answer.usage)})
        if answer.done:
            yield b"data: [DONE]\n\n"

    def _whole_body(self) -> bytes:
        answer = self.answer
        if answer.body is not None:
            return answer.body
        if answer.status != 200:
            return self._json(_error(answer))
        text = "".join(piece for piece in answer.pieces if isinstance(piece, str))
        choice: JsonObject = {
            "index": 0,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "logprobs": None,
            "finish_reason": answer.finish_reason,
        }
        usage = {} if answer.usage is None else {"usage": _usage(answer.usage)}
        return self._json(self._identity("chat.completion") | {"choices": [choice]} | usage)

    def _chunk(self, delta: JsonObject, finish_reason: str | None = None) -> bytes:
        choice: JsonObject = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        # OpenAI puts a null usage into every other chunk of a stream that was asked for usage.
        return self._event({"choices": [choice]} | ({"usage": None} if self._usage_asked else {}))

    def _event(self, content: JsonObject) -> bytes:
        chunk = self._identity("chat.completion.chunk") | content
        return b"data: " + self._json(chunk) + b"\n\n"

    def _identity(self, kind: str) -> JsonObject:
        return {
            "id": f"chatcmpl-{self.number}",
            "object": kind,
            "created": int(time.time()),
            "model": self.ask.get("model"),
        }

    def _json(self, value: JsonObject) -> bytes:
        text = json.dumps(value, ensure_ascii=self.answer.escape, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass")

    def _head(self, usual: Mapping[str, str]) -> bytes:
        status = HTTPStatus(self.answer.status)
        headers = {**usual, **self.answer.headers}
        lines = [f"{name}: {value}" for name, value in headers.items() if value]
        return "\r\n".join([f"HTTP/1.1 {status.value} {status.phrase}", *lines, "", ""]).encode()

    def _framed(self, event: bytes) -> Iterator[bytes]:
        """Each part an HTTP chunk."""
        return (b"%x\r\n%b\r\n" % (len(part), part) for part in self._split(event))

    def _split(self, data: bytes) -> Iterator[bytes]:
        step = self.answer.split_bytes or max(len(data), 1)
        return (data[start : start + step] for start in range(0, len(data), step))


@dataclass(frozen=True)
class Request:
    """One request as received."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: JsonObject
    """Empty for a request without a body."""


def tool_call(
    index: int, arguments: str = "", *, call_id: str | None = None, name: str | None = None
) -> JsonObject:
    """A delta with a piece of one call; the first of a call has its id and its tool's name."""
    function: JsonObject = {"arguments": arguments} | ({"name": name} if name else {})
    named = {"id": call_id, "type": "function"} if call_id else {}
    return {"tool_calls": [{"index": index, **named, "function": function}]}


def reasoning(text: str) -> JsonObject:
    """A delta of what a model thinks, as open models' servers tell it apart from its text."""
    return {"content": None, "reasoning_content": text}


def model_list(names: Iterable[str]) -> bytes:
    """The body of `GET /v1/models`."""
    models = [
        {"id": name, "object": "model", "created": 0, "owned_by": "stand-in"} for name in names
    ]
    return json.dumps({"object": "list", "data": models}).encode()


def _error(answer: Answer) -> JsonObject:
    return {
        "error": {
            "message": answer.error_message,
            "type": "invalid_request_error" if answer.status < 500 else "server_error",
            "param": None,
            "code": answer.error_code,
        }
    }


def _usage(usage: tuple[int, int]) -> JsonObject:
    prompt, completion = usage
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
