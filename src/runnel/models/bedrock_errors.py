"""What boto3 and langchain-aws raise, as our errors. AWS' own words stay out: they name accounts."""

from typing import TYPE_CHECKING, Any, Final

from botocore import exceptions as boto
from botocore.eventstream import ParserError
from urllib3 import exceptions as urllib3_errors

from runnel.chat.model_ports import NotTakenError
from runnel.errors import Code, RunnelError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TOO_MANY: Final = 429
_SERVER_FAULT: Final = 500
_REFUSED_KEY: Final = (401, 403)
#: Bedrock's names for faults, lower case, whether they come as an answer or inside a stream.
_THROTTLED: Final = frozenset(
    {"throttlingexception", "servicequotaexceededexception", "toomanyrequestsexception"}
)
_TIMED_OUT: Final = frozenset({"modeltimeoutexception"})
_FAILED: Final = frozenset(
    {
        "internalserverexception",
        "modelerrorexception",
        "modelnotreadyexception",
        "modelstreamerrorexception",
        "serviceunavailableexception",
    }
)
_NO_CREDENTIALS: Final = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.NoAuthTokenError,
    boto.SSOError,
)
_TOO_SLOW: Final = (
    boto.ConnectTimeoutError,
    boto.ReadTimeoutError,
    urllib3_errors.ReadTimeoutError,
)
_UNREACHED: Final = (boto.EndpointConnectionError, boto.ProxyConnectionError, boto.SSLError)
_UNCLEAR: Final = "sent what cannot be understood"
_HUNG_UP: Final = (
    boto.ConnectionClosedError,
    boto.HTTPClientError,
    boto.IncompleteReadError,
    boto.ResponseStreamingError,
    urllib3_errors.HTTPError,
    ConnectionError,
)


def translate(alias: str, error: Exception, *, begun: bool) -> RunnelError:
    """`begun`: after something of the answer had come."""
    return _translated(f"The provider of {alias}", error, begun=begun)


def translate_ping(error: Exception) -> RunnelError:
    """The same of a ping, which is asked for more than one alias."""
    return _translated("the provider", error, begun=False)


def _translated(provider: str, error: Exception, *, begun: bool) -> RunnelError:
    if isinstance(error, RunnelError):
        return error
    answered = _answered(error)
    if answered is not None:
        return _of_answer(provider, answered, begun=begun)
    return _without_answer(provider, error, begun=begun)


def _answered(error: BaseException | None) -> boto.ClientError | None:
    # langchain-aws wraps some of them.
    while error is not None and not isinstance(error, boto.ClientError):
        error = error.__cause__
    return error


def _of_answer(provider: str, error: boto.ClientError, *, begun: bool) -> RunnelError:
    details: Mapping[str, Any] = error.response
    name = str(details.get("Error", {}).get("Code", "")).lower()
    status = details.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    kind = RunnelError if begun else NotTakenError
    if name in _THROTTLED or (status == _TOO_MANY and name not in _FAILED):
        return kind(Code.UPSTREAM_RATE_LIMITED, f"{provider} takes no more requests just now.")
    if name in _TIMED_OUT:
        return RunnelError(Code.UPSTREAM_TIMEOUT, f"{provider} did not answer in time.")
    if name in _FAILED or status >= _SERVER_FAULT:
        return kind(Code.UPSTREAM_ERROR, f"{provider} failed.")
    if status in _REFUSED_KEY:
        message = f"{provider} refused the server's AWS credentials (HTTP {status})."
    elif type(error).__name__.endswith("ContextOverflowError") or _overflow(error):
        message = f"{provider} refused the request: it is too long for the model."
    else:
        message = f"{provider} refused the request."
    return RunnelError(Code.UPSTREAM_ERROR, message, retryable=False)


def _overflow(error: Exception) -> bool:
    return any(kind.__name__ == "ContextOverflowError" for kind in type(error).__mro__)


def _without_answer(provider: str, error: Exception, *, begun: bool) -> RunnelError:
    kind, code, what, retryable = RunnelError, Code.UPSTREAM_ERROR, _UNCLEAR, True
    if isinstance(error, _TOO_SLOW):
        code, what = Code.UPSTREAM_TIMEOUT, "did not answer in time"
    elif isinstance(error, _NO_CREDENTIALS):
        what, retryable = "needs AWS credentials, and the server has none that work", False
    elif isinstance(error, _UNREACHED):
        kind, what = NotTakenError, "cannot be reached"
    elif type(error) is ConnectionError and not begun:
        # LangChain's word for an answer without an end, here one without anything.
        code, what = Code.UPSTREAM_INCOMPLETE, "sent an empty answer"
    elif isinstance(error, _HUNG_UP) and begun:
        code, what = Code.UPSTREAM_INCOMPLETE, "hung up in mid-answer"
    elif isinstance(error, _HUNG_UP):
        what = "hung up"
    elif isinstance(error, boto.BotoCoreError) and not isinstance(error, ParserError):
        what, retryable = "cannot be asked as configured", False
    return kind(code, f"{provider} {what}.", retryable=retryable)
