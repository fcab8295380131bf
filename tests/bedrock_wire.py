"""Answers of Bedrock's ConverseStream as bytes: AWS' event stream, with both its checksums.

Nothing here does I/O, and nothing is taken from the client's own library: `bedrock` carries it.
"""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Final
from zlib import crc32

from provider_script import Answer, JsonObject, Voice

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENT_STREAM: Final = "application/vnd.amazon.eventstream"
STREAM_HEADERS: Final = {"content-type": EVENT_STREAM, "transfer-encoding": "chunked"}
JSON_HEADERS: Final = {"content-type": "application/json"}
_STRING: Final = 7  # the type of a header's value
_PRELUDE: Final = 12
_CHECKSUM: Final = 4
#: OpenAI's words for why an answer ended, as Converse's; other words go out as they are.
STOP_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
}
#: What AWS calls a refusal with this status, unless the script says.
ERROR_NAMES: Final = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message: lengths and their checksum, headers, payload, and the checksum of it all."""
    packed = b"".join(_header(name, value) for name, value in headers.items())
    total = _PRELUDE + len(packed) + len(payload) + _CHECKSUM
    lengths = struct.pack("!II", total, len(packed))
    checked = lengths + struct.pack("!I", crc32(lengths)) + packed + payload
    return checked + struct.pack("!I", crc32(checked))


def _header(name: str, value: str) -> bytes:
    given, said = name.encode(), value.encode()
    return struct.pack("!B", len(given)) + given + struct.pack("!BH", _STRING, len(said)) + said


def event(kind: str, content: JsonObject) -> bytes:
    """A good one."""
    headers = {
        ":event-type": kind,
        ":content-type": "application/json",
        ":message-type": "event",
    }
    # AWS pads its events to lengths that tell nothing.
    padded = content | {"p": "abcdefghijkl"}
    return message(headers, json.dumps(padded, separators=(",", ":")).encode())


def exception(kind: str, words: str) -> bytes:
    """A fault inside a stream, as `throttlingException`."""
    headers = {
        ":exception-type": kind,
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return message(headers, json.dumps({"message": words}).encode())


def text(said: str, block: int = 0) -> bytes:
    return _delta({"text": said}, block)


def reasoning(said: str, block: int = 0) -> bytes:
    return _delta({"reasoningContent": {"text": said}}, block)


def signature(said: str, block: int = 0) -> bytes:
    """What a model signs its reasoning with."""
    return _delta({"reasoningContent": {"signature": said}}, block)


def tool(name: str, call_id: str, block: int) -> bytes:
    """The beginning of a call."""
    start = {"toolUse": {"toolUseId": call_id, "name": name}}
    return event("contentBlockStart", {"contentBlockIndex": block, "start": start})


def arguments(json_part: str, block: int) -> bytes:
    return _delta({"toolUse": {"input": json_part}}, block)


def stop(block: int) -> bytes:
    return event("contentBlockStop", {"contentBlockIndex": block})


def _delta(delta: JsonObject, block: int) -> bytes:
    return event("contentBlockDelta", {"contentBlockIndex": block, "delta": delta})


def wrong_checksum(good: bytes) -> bytes:
    """The message with another checksum at its end."""
    return good[:-1] + bytes([good[-1] ^ 1])


def wrong_prelude(good: bytes) -> bytes:
    """The message with another checksum of its lengths."""
    return good[: _PRELUDE - 1] + bytes([good[_PRELUDE - 1] ^ 1]) + good[_PRELUDE:]


def truncated(good: bytes) -> bytes:
    """All of the message but its last bytes."""
    return good[:-7]


class ConverseVoice(Voice):
    """An `Answer` in this wire's bytes. Pieces that are bytes are messages, or what stands there.

    `done` False leaves out `messageStop` as `finish_reason` None does; `usage` None leaves out
    `metadata`; `split_bytes` cuts as it does on the other wire.
    """

    def beginning(self) -> Iterator[bytes]:
        if self._flows:
            yield self._head(STREAM_HEADERS)
            yield from self._framed(event("messageStart", {"role": "assistant"}))

    def piece(self, piece: str | bytes | JsonObject) -> Iterator[bytes]:
        assert not isinstance(piece, dict), "a delta of the other wire"
        if self._flows:
            yield from self._framed(text(piece) if isinstance(piece, str) else piece)

    def ending(self) -> Iterator[bytes]:
        if self._flows:
            for closing in self._closing():
                yield from self._framed(closing)
            yield b"0\r\n\r\n"
        else:
            body = self._body()
            usual = JSON_HEADERS | {"content-length": str(len(body))}
            if self.answer.status != 200:
                usual["x-amzn-errortype"] = f"{self._error_name()}:http://internal.amazon.com/"
            yield self._head(usual)
            yield body

    @property
    def _flows(self) -> bool:
        return self.answer.body is None and self.answer.status == 200

    def _closing(self) -> Iterator[bytes]:
        answer = self.answer
        yield stop(0)
        if answer.finish_reason is not None and answer.done:
            word = STOP_REASONS.get(answer.finish_reason, answer.finish_reason)
            yield event("messageStop", {"stopReason": word})
        if answer.usage is not None:
            prompt, completion = answer.usage
            usage = {
                "inputTokens": prompt,
                "outputTokens": completion,
                "totalTokens": prompt + completion,
            }
            yield event("metadata", {"usage": usage, "metrics": {"latencyMs": 7}})

    def _body(self) -> bytes:
        if self.answer.body is not None:
            return self.answer.body
        return json.dumps({"message": self.answer.error_message}).encode()

    def _error_name(self) -> str:
        return self.answer.error_code or ERROR_NAMES[self.answer.status]


def unsigned() -> Answer:
    """What AWS says to a request that is not signed."""
    return replace(
        Answer((), status=403),
        error_code="MissingAuthenticationTokenException",
        error_message="Missing Authentication Token",
    )
