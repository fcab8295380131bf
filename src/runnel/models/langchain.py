"""Any LangChain chat model as the chat core's `Model`: what it streams, in pieces of plain text."""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import structlog

from runnel.chat.entities import Params, Turn
from runnel.chat.model_ports import Said
from runnel.chat.places import Places
from runnel.chat.terms import Terms
from runnel.errors import RunnelError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessageChunk

_log = structlog.stdlib.get_logger()
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z_]{0,63}")


class Translate(Protocol):
    def __call__(self, error: Exception, *, begun: bool) -> RunnelError: ...


class Speak(Protocol):
    def __call__(
        self, turns: Sequence[Turn], params: Params, fault: Translate
    ) -> AsyncGenerator[Sequence[Said]]:
        """Streams an answer; raises what `fault` makes of whatever goes wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Ping:
    """A question to a provider that costs nothing, or next to nothing: whether it would answer.

    Aliases with the same `key` need to ask it only once. `ask` raises RunnelError.
    """

    key: Hashable
    ask: Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Entry:
    """An alias as models.json has it, made ready: its names, its terms and its own params."""

    alias: str
    provider: str
    provider_model: str
    terms: Terms
    defaults: Params
    places: Places


class LangChainModel:
    """Implements chat.model_ports.Model.

    `speak` streams a provider's answer; `translate` turns what it raises into RunnelError, told
    whether the answer had begun.
    """

    def __init__(
        self, entry: Entry, speak: Speak, translate: Translate, ping: Ping | None = None
    ) -> None:
        self.alias = entry.alias
        self.provider = entry.provider
        self.provider_model = entry.provider_model
        self.terms = entry.terms
        self.places = entry.places
        self.ping = ping
        self._defaults = entry.defaults
        self._speak = speak
        self._translate = translate

    def stream(self, turns: Sequence[Turn], params: Params) -> AsyncGenerator[Sequence[Said]]:
        return self._speak(turns, params.over(self._defaults), self._fault)

    def _fault(self, error: Exception, *, begun: bool) -> RunnelError:
        _log_failure(self.alias, error)
        return self._translate(error, begun=begun)


def telling(
    speak: Callable[[Sequence[Turn], Params], AsyncGenerator[Sequence[Said]]],
) -> Speak:
    """What streams an answer and raises anything, as a `Speak`."""

    async def told(
        turns: Sequence[Turn], params: Params, fault: Translate
    ) -> AsyncGenerator[Sequence[Said]]:
        begun = False
        try:
            async with aclosing(speak(turns, params)) as batches:
                async for batch in batches:
                    yield batch
                    begun = True
        except Exception as error:
            # Providers' clients raise anything, from ValueError to what their parsers raise.
            raise fault(error, begun=begun) from error

    return told


def speaking(
    chat_model: "BaseChatModel",
    call_options: Callable[[Params], dict[str, Any]],
    *,
    thinks_aloud: bool = False,
) -> Speak:
    """A chat model's own `astream`. `call_options` gives our params the names that it knows."""
    # Who judges aliases needs no LangChain, and whoever has made a chat model has loaded it.
    from runnel.models.messages import messages_of  # noqa: PLC0415 - as said
    from runnel.models.pieces import Pieces  # noqa: PLC0415 - same

    @telling
    async def speak(turns: Sequence[Turn], params: Params) -> AsyncGenerator[Sequence[Said]]:
        pieces = Pieces(thinks_aloud=thinks_aloud)
        chunks = cast(
            "AsyncGenerator[AIMessageChunk]",
            chat_model.astream(messages_of(turns), **call_options(params)),
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                yield (pieces.piece(chunk),)

    return speak


def _log_failure(alias: str, error: Exception) -> None:
    """What an operator can act on. The provider's sentences stay out: they quote keys, prompts."""
    code = getattr(error, "code", None)
    _log.warning(
        "provider.failed",
        model=alias,
        error=type(error).__name__,
        provider_status=getattr(error, "status_code", None),
        provider_code=code if isinstance(code, str) and _CODE.fullmatch(code) else None,
    )
