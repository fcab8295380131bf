"""Models that speak OpenAI's chat-completions wire: OpenAI itself, and any server like it."""

import json
import math
import time
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import httpx2
import openai
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from runnel.chat.entities import Params
from runnel.chat.ports import NotTakenError
from runnel.errors import Code, RunnelError
from runnel.models.langchain import LangChainModel

_OPENAI = "https://api.openai.com/v1"
_TOO_MANY = 429
_SERVER_FAULT = 500
_REFUSED_KEY = (401, 403)
_CONNECT_SECONDS = 10
_MOST_SECONDS = 86_400.0
_UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError)


class OpenAIFamily:
    """Builds models that share one pool of connections, which `close` closes."""

    def __init__(self) -> None:
        # The client library's own pool is shared by the whole process, is never closed, holds at
        # most 1000 answers at a time, and follows a redirect with the whole prompt.
        self._client = openai.DefaultAsyncHttpxClient(
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=100),
            follow_redirects=False,
        )

    def build(
        self, alias: str, model: str, *, api_key: str | None, base_url: str | None
    ) -> LangChainModel:
        """A model by its provider's name; `base_url` None is OpenAI itself."""
        chat_model = ChatOpenAI(
            model=model,
            # A local server wants none, but the client insists on something to send.
            api_key=SecretStr(api_key or "none"),
            # Always said: what is absent here, the client looks up in the environment, where an
            # empty OPENAI_BASE_URL counts, and where another alias' address may stand.
            base_url=base_url or _OPENAI,
            http_async_client=self._client,
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
        return LangChainModel(
            alias=alias,
            provider="openai",
            provider_model=model,
            chat_model=chat_model,
            call_options=_compatible_options if base_url else _openai_options,
            translate=partial(translate, alias),
        )

    async def close(self) -> None:
        await self._client.aclose()


def _openai_options(params: Params) -> dict[str, Any]:
    options = _common_options(params)
    if params.max_tokens is not None:
        options["max_completion_tokens"] = params.max_tokens
    return options


def _compatible_options(params: Params) -> dict[str, Any]:
    # Other servers know the older name, and not all of them the newer; given as an ordinary
    # option, langchain-openai would rename it.
    options = _common_options(params)
    if params.max_tokens is not None:
        options.setdefault("extra_body", {})["max_tokens"] = params.max_tokens
    return options


def _common_options(params: Params) -> dict[str, Any]:
    named = {"temperature": params.temperature, "top_p": params.top_p, "seed": params.seed}
    options: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    if params.stop:
        options["stop"] = list(params.stop)
    if params.json_mode:
        # As an ordinary option it would switch langchain-openai to a parsing client, which
        # raises where an answer is cut by its length.
        options["extra_body"] = {"response_format": {"type": "json_object"}}
    return options


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
    if status == _TOO_MANY:
        return NotTakenError(
            Code.UPSTREAM_RATE_LIMITED,
            f"{provider} takes no more requests just now.",
            retry_after=_seconds(error.response.headers.get("retry-after")),
        )
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
