"""OpenAI's streaming wire, read straight from the connection: what has come together is given
together, as the chunks that the provider wrote.

Faults are raised as the openai SDK would: whoever handles its errors handles these.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Final, Self, cast

import aiohttp
import httpx2
import openai
import orjson

from runnel.models.openai_address import Address
from runnel.models.sse_data import EventData

_CONNECT_SECONDS: Final = 10
#: How long the connection's end may take to come after the answer's, to be used again.
_DRAIN_SECONDS: Final = 0.1
_MOST_ERROR_BYTES: Final = 2**20
#: Of one header; proxies before providers send long ones.
_MOST_HEADER_BYTES: Final = 2**16
_DONE: Final = b"[DONE]"
_OK: Final = range(200, 300)
_SERVER_FAULT: Final = 500
_STATUS_ERRORS: Final[Mapping[int, type[openai.APIStatusError]]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}

Chunk = dict[str, Any]


class Wire:
    """A pool of connections, which `close` closes. Belongs to the event loop that uses it first."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, address: Address, body: object) -> "WireAnswer":
        """Sends a question. Raises openai.APIStatusError, .APIConnectionError, .APITimeoutError."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                max_line_size=_MOST_HEADER_BYTES,
                max_field_size=_MOST_HEADER_BYTES,
            )
        try:
            response = await self._session.post(
                address.url,
                headers=address.headers,
                data=_encoded(body),
                allow_redirects=False,
            )
        except (aiohttp.ClientError, OSError) as error:
            request = address.request()
            raise _connection_fault(error, request) from _cause(error, request)
        if response.status in _OK:
            return WireAnswer(response, address)
        raise await _status_fault(response, address.request())

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


class WireAnswer:
    """One answer: its chunks, in batches or one by one. Use it as a context manager.

    Raises openai.APIError where the provider reports an error, .APIConnectionError where the
    connection breaks, ValueError or TypeError where what has come is no chunk.
    """

    __slots__ = ("_address", "_ended", "_events", "_fault", "_response")

    def __init__(self, response: aiohttp.ClientResponse, address: Address) -> None:
        self._response = response
        self._address = address
        self._events = EventData()
        self._fault: Exception | None = None  # behind what was given last
        self._ended = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()

    async def __aiter__(self) -> AsyncGenerator[Chunk]:
        while chunks := await self.next():
            for chunk in chunks:
                yield chunk

    async def next(self) -> list[Chunk]:
        """What has come together, together; empty once, at the end."""
        while not self._ended:
            if self._fault is not None:
                raise self._fault
            try:
                received = await self._response.content.readany()
            except (aiohttp.ClientError, OSError) as error:
                raise _connection_fault(error, self._address.request()) from error
            if not received:
                self._ended = True
            elif chunks := self._chunks(received):
                return chunks
        await self._drain()
        return []

    def _chunks(self, received: bytes) -> list[Chunk]:
        chunks: list[Chunk] = []
        try:
            for data in self._events.feed(received):
                if data.startswith(_DONE):
                    self._ended = True
                    break
                chunks.append(self._chunk(data))
        except (openai.APIError, ValueError, TypeError) as fault:
            if not chunks:
                raise
            self._fault = fault  # what came before it is said before it
        return chunks

    def _chunk(self, data: bytes) -> Chunk:
        try:
            chunk: object = orjson.loads(data)
        except orjson.JSONDecodeError:
            # Some servers write NaN, or halves of surrogate pairs, which the SDK reads too.
            chunk = json.loads(data.decode())
        if not isinstance(chunk, dict):
            raise TypeError("a chunk that is no object")
        said = cast("Chunk", chunk)
        if "error" in said and (error := said["error"]):
            message = _message_of(error) or "An error occurred during streaming"
            raise openai.APIError(message, self._address.request(), body=error)
        return said

    async def _drain(self) -> None:
        """The connection's own end, without which it cannot be used again."""
        content = self._response.content
        if content.at_eof():
            return
        try:
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not content.at_eof():
                    await content.readany()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # the answer is whole


def _encoded(body: object) -> bytes:
    try:
        return orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:  # as of numbers beyond 64 bits
        return json.dumps(body).encode()


def _connection_fault(error: Exception, request: httpx2.Request) -> openai.APIConnectionError:
    if isinstance(error, TimeoutError):
        return openai.APITimeoutError(request=request)
    return openai.APIConnectionError(request=request)


def _cause(error: Exception, request: httpx2.Request) -> Exception:
    """The SDK's own word for a connection that was never made."""
    if not isinstance(
        error, aiohttp.ClientConnectorError | aiohttp.ClientConnectorCertificateError
    ):
        return error
    never = httpx2.ConnectError(str(error), request=request)
    never.__cause__ = error
    return never


async def _status_fault(
    response: aiohttp.ClientResponse, request: httpx2.Request
) -> openai.APIStatusError:
    content = b""
    try:
        while (more := await response.content.readany()) and len(content) < _MOST_ERROR_BYTES:
            content += more
    except (aiohttp.ClientError, OSError) as error:
        raise _connection_fault(error, request) from error
    finally:
        response.close()
    status = response.status
    kind = _STATUS_ERRORS.get(
        status, openai.InternalServerError if status >= _SERVER_FAULT else openai.APIStatusError
    )
    told = httpx2.Response(status, headers=list(response.headers.items()), request=request)
    message = f"Error code: {status}"
    body: object
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = content.decode(errors="replace").strip()
    if isinstance(body, dict):
        whole = cast("dict[str, object]", body)
        body = whole.get("error", whole)
        if said := _message_of(body):
            message += f" - {said}"
    return kind(message, response=told, body=body)


def _message_of(error: object) -> str:
    message = cast("Mapping[str, object]", error).get("message") if isinstance(error, dict) else ""
    return message if isinstance(message, str) else ""
