"""Models that speak OpenAI's chat-completions wire: OpenAI itself, and any server like it."""

import json
import math
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Final
from urllib.request import getproxies

import httpx2
import openai
from pydantic import SecretStr

from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import NotTakenError, Said
from runnel.errors import Code, RunnelError
from runnel.models.langchain import Entry, LangChainModel, Ping, Speak, Translate, speaking
from runnel.models.openai_client import Completions, DirectClient, SdkClient
from runnel.models.openai_wire import Wire
from runnel.models.pieces import Pieces

OPENAI: Final = "https://api.openai.com/v1"
_TIMED_OUT = 408
_TOO_MANY = 429
_SERVER_FAULT = 500
_NOT_IMPLEMENTED = 501
_REFUSED_KEY = (401, 403)
_CONNECT_SECONDS = 10
_MOST_SECONDS = 86_400.0
_UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError)


class OpenAIFamily:
    """Builds models that share one pool of connections, which `close` closes.

    `direct`: they read the wire themselves, and not through the openai SDK.
    """

    def __init__(self, *, direct: bool) -> None:
        tls = httpx2.create_ssl_context()
        # Proxies are the SDK's to find: it knows more kinds of them than the wire does.
        self._wire = Wire(tls) if direct and not getproxies() else None
        # The client library's own pool is shared by the whole process, is never closed, holds at
        # most 1000 answers at a time, and follows a redirect with the whole prompt.
        self._client = openai.DefaultAsyncHttpxClient(
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
            follow_redirects=False,
            verify=tls,
        )
        self._unused = openai.DefaultHttpxClient(verify=tls)

    def build(self, entry: Entry, *, api_key: str | None, base_url: str | None) -> LangChainModel:
        """A model by its provider's name; `base_url` None is OpenAI itself."""
        url = base_url or OPENAI
        own = url.rstrip("/") == OPENAI
        options = _openai_options if own else _compatible_options
        chat_model = self.chat_model(entry.provider_model, url, api_key)
        speak = (
            _speaking(chat_model, options, thinks_aloud=not own)
            if isinstance(chat_model, DirectClient)
            else speaking(chat_model, options, thinks_aloud=not own)
        )
        return LangChainModel(
            entry,
            speak,
            partial(translate, entry.alias),
            Ping((url, api_key), partial(self._ping, url, api_key)),
        )

    def chat_model(self, name: str, url: str, api_key: str | None) -> SdkClient:
        """LangChain's client of one model."""
        kind = SdkClient if self._wire is None else DirectClient
        chat_model = kind(
            model=name,
            # A local server wants none, but the client insists on something to send.
            api_key=SecretStr(api_key or "none"),
            # Always said: what is absent here, the client looks up in the environment, where an
            # empty OPENAI_BASE_URL counts, and where another alias' address may stand.
            base_url=url,
            http_async_client=self._client,
            # Never used; but else each model makes one, which takes 20 ms and 300 kB.
            http_client=self._unused,
            # Of itself it stops asking for usage as soon as base_url is set.
            stream_usage=True,
            # Some models' names would switch it to another wire.
            use_responses_api=False,
            # Retries and timeouts are the producer's: here they would hide faults, and cost a
            # timer for every chunk.
            max_retries=0,
            stream_chunk_timeout=None,
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        )
        if self._wire is not None:
            chat_model.async_client = Completions(self._wire, chat_model.root_async_client)
        return chat_model

    async def _ping(self, url: str, api_key: str | None) -> None:
        """Asks for the list of models, which is free, and proves address and key."""
        address = f"{url.rstrip('/')}/models"
        try:
            # Its body is not read: what is at a wrong address may well never end.
            async with self._client.stream(
                "GET", address, headers={"Authorization": f"Bearer {api_key or 'none'}"}
            ) as answer:
                pass
        except httpx2.HTTPError as error:
            shown = httpx2.URL(address).copy_with(userinfo=b"")
            raise RunnelError(
                Code.UPSTREAM_ERROR,
                f"the provider cannot be reached at {shown} ({type(error).__name__})",
            ) from None
        if answer.status_code in _REFUSED_KEY:
            raise RunnelError(
                Code.UPSTREAM_ERROR,
                f"the provider refused the API key (HTTP {answer.status_code})",
                retryable=False,
            )
        # Servers that keep no list answer 404, 405 or 501, and serve all the same.
        if answer.status_code >= _SERVER_FAULT and answer.status_code != _NOT_IMPLEMENTED:
            raise RunnelError(
                Code.UPSTREAM_ERROR, f"the provider failed (HTTP {answer.status_code})"
            )

    async def close(self) -> None:
        if self._wire is not None:
            await self._wire.close()
        await self._client.aclose()
        self._unused.close()


def _speaking(
    chat_model: DirectClient,
    call_options: Callable[[Params], dict[str, Any]],
    *,
    thinks_aloud: bool,
) -> Speak:
    """As `langchain.speaking`, in batches of what has come together."""

    def speak(
        turns: Sequence[Turn], params: Params, fault: Translate
    ) -> AsyncGenerator[Sequence[Said]]:
        pieces = Pieces(thinks_aloud=thinks_aloud)
        return chat_model.batches(pieces, turns, fault, **call_options(params))

    return speak


def _openai_options(params: Params) -> dict[str, Any]:
    return _options(params, max_tokens="max_completion_tokens")


def _compatible_options(params: Params) -> dict[str, Any]:
    # Other servers know the older name, and not all of them the newer.
    return _options(params, max_tokens="max_tokens")


def _options(params: Params, *, max_tokens: str) -> dict[str, Any]:
    named = {"temperature": params.temperature, "top_p": params.top_p, "seed": params.seed}
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if params.stop:
        options["stop"] = list(params.stop)
    # Put into the body as they are. As ordinary options some would be renamed, and a format would
    # switch langchain-openai to a parsing client, which raises where an answer is cut.
    body: dict[str, Any] = {}
    if params.max_tokens is not None:
        body[max_tokens] = params.max_tokens
    if params.json_mode:
        body["response_format"] = {"type": "json_object"}
    body |= params.passed
    return options | ({"extra_body": body} if body else {})


def translate(alias: str, error: Exception, *, begun: bool) -> RunnelError:
    """What the client raised, as ours; `begun`: after something of the answer had come.

    The provider's own words may hold a key or the prompt: they stay out.
    """
    provider = f"The provider of {alias}"
    if isinstance(error, openai.APIStatusError):
        return _of_status(provider, error)
    code, what = _without_status(error, begun=begun)
    # Whoever took the request and hung up may have answered it, and may bill it.
    kind = NotTakenError if _unreached(error) else RunnelError
    return kind(code, f"{provider} {what}.")


def _unreached(error: BaseException | None) -> bool:
    # LangChain wraps the client's error, which wraps that of the connection.
    while error is not None and not isinstance(error, httpx2.ConnectError):
        error = error.__cause__
    return error is not None


def _without_status(error: Exception, *, begun: bool) -> tuple[Code, str]:
    match error:
        case openai.APITimeoutError():  # is an APIConnectionError too, so it comes first
            found = Code.UPSTREAM_TIMEOUT, "did not answer in time"
        case openai.APIConnectionError() if begun:
            found = Code.UPSTREAM_INCOMPLETE, "hung up in mid-answer"
        case openai.APIConnectionError():
            found = Code.UPSTREAM_ERROR, "cannot be reached"
        case openai.APIError():
            found = Code.UPSTREAM_ERROR, "reported an error"
        case ValueError() if not begun and not isinstance(error, _UNREADABLE):
            # LangChain's word for an answer without a single chunk.
            found = Code.UPSTREAM_INCOMPLETE, "sent an empty answer"
        case _:
            found = Code.UPSTREAM_ERROR, "sent what cannot be understood"
    return found


def _of_status(provider: str, error: openai.APIStatusError) -> RunnelError:
    status = error.status_code
    if error.code == "insufficient_quota":  # a 429 as well, but waiting does not help
        return RunnelError(
            Code.UPSTREAM_RATE_LIMITED, f"{provider} has no quota left.", retryable=False
        )
    if status == _TOO_MANY:
        return NotTakenError(
            Code.UPSTREAM_RATE_LIMITED,
            f"{provider} takes no more requests just now.",
            retry_after=_seconds(error.response.headers.get("retry-after")),
        )
    if status == _TIMED_OUT:
        return NotTakenError(Code.UPSTREAM_TIMEOUT, f"{provider} did not answer in time.")
    if status >= _SERVER_FAULT:
        return NotTakenError(Code.UPSTREAM_ERROR, f"{provider} failed (HTTP {status}).")
    if status in _REFUSED_KEY:
        message = f"{provider} refused the server's API key (HTTP {status})."
    elif error.code == "context_length_exceeded":
        message = f"{provider} refused the request: it is too long for the model."
    else:
        message = f"{provider} refused the request (HTTP {status})."
    return RunnelError(Code.UPSTREAM_ERROR, message, retryable=False)


def _seconds(retry_after: str | None) -> float | None:
    """Of `Retry-After`: a number of seconds, or a date (RFC 9110, 10.2.3); None if it is neither."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(0.0, seconds), _MOST_SECONDS) if math.isfinite(seconds) else None
