"""OpenAI's wire as bytes made beforehand, and how a model's name says what is to be answered.

Each token is `~T` and 16 digits: the microsecond (CLOCK_MONOTONIC) at which it was due if the
answer has a rate, else its index.
"""

import re
import time
from dataclasses import dataclass
from typing import Final

MARK: Final = re.compile(rb"~T(\d{16})")
MARK_BYTES: Final = 18

_MODEL: Final = re.compile(rb'"model": ?"tokens-(\d+)-rate-(\d+)"')
_STREAM: Final = re.compile(rb'"stream": ?true')
_USAGE: Final = re.compile(rb'"include_usage": ?true')

_ABOUT: Final = (
    '"id":"chatcmpl-AbCdEfGhIjKlMnOpQrStUvWxYz012","object":"%s","created":1763600000,'
    '"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0123456789"'
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the provider is to say: so many tokens, at so many a second (0: as fast as it can)."""

    tokens: int
    rate: int

    @property
    def model(self) -> str:
        return f"tokens-{self.tokens}-rate-{self.rate}"


@dataclass(frozen=True, slots=True)
class Question:
    """What a request to the provider says."""

    answer: Answer
    stream: bool
    usage: bool


def question_of(body: bytes) -> Question:
    """Raises ValueError if no model is named that says what to answer."""
    asked = _MODEL.search(body)
    if asked is None:
        raise ValueError("no model as tokens-100-rate-50")
    answer = Answer(int(asked[1]), int(asked[2]))
    return Question(answer, bool(_STREAM.search(body)), bool(_USAGE.search(body)))


def microseconds() -> int:
    return time.monotonic_ns() // 1000


def _in_chunks(payload: str) -> bytes:
    frame = f"data: {payload}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(frame), frame)


def _chunk(choices: str, usage: str = "") -> bytes:
    return _in_chunks(f'{{{_ABOUT % "chat.completion.chunk"},"choices":[{choices}]{usage}}}')


def _choice(delta: str, finish_reason: str = "null") -> str:
    return f'{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish_reason}}}'


#: Head and role, as sent before the first token.
BEGINNING: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
    + _chunk(_choice('{"role":"assistant","content":"","refusal":null}'))
)
_AROUND: Final = _chunk(_choice('{"content":"~T0000000000000000"}')).split(b"0" * 16)
_END: Final = _in_chunks("[DONE]") + b"0\r\n\r\n"


def token(number: int) -> bytes:
    return b"%b%016d%b" % (_AROUND[0], number, _AROUND[1])


def _usage(tokens: int) -> str:
    return f'{{"prompt_tokens":10,"completion_tokens":{tokens},"total_tokens":{tokens + 10}}}'


def ending(tokens: int, *, usage: bool) -> bytes:
    """The finish reason, the use if it was asked for, and the stream's end."""
    end = _chunk(_choice("{}", '"stop"'))
    if usage:
        end += _chunk("", f',"usage":{_usage(tokens)}')
    return end + _END


def whole(tokens: int) -> bytes:
    """An answer that is not streamed."""
    text = "".join(f"~T{number:016}" for number in range(tokens))
    message = f'{{"role":"assistant","content":"{text}","refusal":null}}'
    choice = f'{{"index":0,"message":{message},"logprobs":null,"finish_reason":"stop"}}'
    about = _ABOUT % "chat.completion"
    body = f'{{{about},"choices":[{choice}],"usage":{_usage(tokens)}}}'.encode()
    return _response(b"200 OK", body)


def refusal() -> bytes:
    return _response(b"404 Not Found", b'{"error":{"message":"unknown model","code":404}}')


def confirmation() -> bytes:
    return _response(b"200 OK", b"{}")


def _response(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )
