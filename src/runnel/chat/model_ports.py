"""What the chat core needs of models and of their catalog. Adapters implement it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from runnel.chat.entities import Params, Turn
from runnel.chat.places import Places
from runnel.chat.terms import Terms
from runnel.errors import RunnelError
from runnel.events import FinishReason, ToolCall, Usage


class Piece(NamedTuple):
    """What a model gives at a time: text, calls of tools, the reason why it ended, the tokens it
    counted. `agent` is which part of a graph says it, where there are several.

    An empty one is a sign of life: a model that thinks without speaking is not silent.
    """

    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    agent: str | None = None


#: A piece that is nothing but text comes as that text.
Said = Piece | str


class NotTakenError(RunnelError):
    """The provider did not take the question: it refused, or could not be reached.

    Nothing was made and nothing is billed, so that asking again is harmless.
    """


class Model(Protocol):
    """One alias, ready to answer."""

    @property
    def alias(self) -> str: ...
    @property
    def provider(self) -> str: ...
    @property
    def provider_model(self) -> str: ...
    @property
    def terms(self) -> Terms: ...
    @property
    def places(self) -> Places: ...

    def stream(self, turns: Sequence[Turn], params: Params) -> AsyncGenerator[Sequence[Said]]:
        """The answer, in batches of what was ready together; never an empty batch.

        The finish reason comes once, with or after the last text; a stream that ends without
        one was cut. Closing the generator closes the connection to the provider. Raises
        RunnelError with an `upstream_…` code; NotTakenError where it may help to ask again at
        once. Params that are not given are as the alias says.
        """
        ...


@dataclass(frozen=True, slots=True)
class ListedModel:
    """An alias as it is shown to clients; one that is not available says why when it is asked."""

    alias: str
    provider: str
    model: str
    available: bool


@dataclass(frozen=True, slots=True)
class AliasState:
    """An alias as whoever runs the server sees it: why it cannot be asked now, which may name its
    provider's address, and who stands in for it. `restarts` as in Candidates.
    """

    listed: ListedModel
    why_not: str | None
    fallbacks: Sequence[str]
    restarts: bool


@dataclass(frozen=True, slots=True)
class Candidates:
    """Who may answer for an alias: its own model first, then those that stand in for it; at least
    one.

    `absent` is why its own cannot be asked now, and is not among them; None if it can. `restarts`
    is what the alias says: an answer that breaks off is begun anew by the next.
    """

    models: Sequence[Model]
    restarts: bool = False
    absent: RunnelError | None = None


class Catalog(Protocol):
    """The aliases there are, and the one that answers where none is named."""

    @property
    def default(self) -> str | None: ...

    def listed(self) -> Sequence[ListedModel]: ...

    def states(self) -> Sequence[AliasState]: ...

    def candidates(self, name: str | None) -> Candidates:
        """Of that alias, or of a provider's name that one alias alone has. None: the default.

        Raises RunnelError `unknown_model`, or `model_unavailable` if nobody can be asked now.
        """
        ...

    def priced(self, alias: str, usage: Usage) -> Usage:
        """A usage with what it costs, if the alias has a price."""
        ...
