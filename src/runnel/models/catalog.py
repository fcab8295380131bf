"""The catalog of aliases: which there are, which can be asked now, and how that changes."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn

import structlog

from runnel.chat.model_ports import AliasState, Candidates, ListedModel
from runnel.errors import Code, RunnelError, StartupError
from runnel.events import Usage
from runnel.models.building import Aliases, Builder
from runnel.models.langchain import LangChainModel, Ping

_log = structlog.stdlib.get_logger()
#: How often those that did not answer are asked again whether they would.
_RECHECK_SECONDS: Final = 30.0


class ModelCatalog:
    """Implements chat.model_ports.Catalog. An alias that cannot be asked is listed, and says why.

    `ping_seconds` is how long a provider may take to say that it is there. Without `asks`, a
    reload asks nobody.
    """

    def __init__(self, builder: Builder, *, ping_seconds: float, asks: bool = True) -> None:
        self._builder = builder
        self._ping_seconds = ping_seconds
        self._asks = asks
        self._changing = asyncio.Lock()
        self._aliases = Aliases()
        self._down: Mapping[str, str] = {}  # and why

    @property
    def default(self) -> str | None:
        return self._aliases.default

    def listed(self) -> Sequence[ListedModel]:
        aliases = self._aliases
        return [
            ListedModel(
                listed.alias,
                listed.provider,
                listed.model,
                available=listed.available and alias not in self._down,
            )
            for alias, listed in aliases.listed.items()
        ]

    def states(self) -> Sequence[AliasState]:
        aliases = self._aliases
        return [
            AliasState(
                listed,
                self.why_not(listed.alias),
                tuple(aliases.fallbacks.get(listed.alias, ())),
                restarts=listed.alias in aliases.restarting,
            )
            for listed in self.listed()
        ]

    def candidates(self, name: str | None) -> Candidates:
        alias = self._alias(name or self.default)
        aliases = self._aliases
        there = [each for each in (alias, *aliases.fallbacks[alias]) if not self.why_not(each)]
        if not there:
            raise self._unavailable(alias)
        return Candidates(
            [aliases.models[each] for each in there],
            restarts=alias in aliases.restarting,
            absent=None if alias in there else self._unavailable(alias),
        )

    def priced(self, alias: str, usage: Usage) -> Usage:
        """A usage of an alias with its cost, as far as it is known."""
        model = self._aliases.models.get(alias)
        return usage if model is None else model.terms.priced(usage)

    def why_not(self, alias: str) -> str | None:
        """Why an alias cannot be asked now; None if it can."""
        return self._aliases.missing.get(alias) or self._down.get(alias)

    def faults(self) -> Sequence[str]:
        """One line for each alias that cannot be asked."""
        reasons = {**self._aliases.missing, **self._down}
        return [f"{alias}: {why}" for alias, why in reasons.items()]

    def log_faults(self) -> None:
        """Where nobody else says them."""
        for fault in self.faults():
            _log.warning("model.unavailable", why=fault)

    async def load(self) -> None:
        """Reads models.json anew; what is being answered goes on as it began.

        Raises StartupError, one line a fault, and leaves all as it was.
        """
        async with self._changing:
            # In a thread: it reads files and imports what it needs.
            self._aliases = await asyncio.to_thread(self._builder.build)
            self._down = {}

    async def check(self) -> None:
        """Asks all providers at once whether they would answer; who would not is unavailable."""
        async with self._changing:
            self._down = await self._asked_all(self._aliases.models)

    async def reload(self) -> Sequence[str]:
        """`load` and `check` in one; the `faults`. Raises StartupError as `load` does."""
        async with self._changing:
            aliases = await asyncio.to_thread(self._builder.build)
            down = await self._asked_all(aliases.models) if self._asks else {}
            self._aliases, self._down = aliases, down
        faults = self.faults()
        _log.info("models.reloaded", aliases=len(self._aliases.listed), unavailable=len(faults))
        self.log_faults()
        return faults

    async def watch(self) -> NoReturn:
        """Asks those that were not available again now and then, until it is cancelled."""
        while True:
            await asyncio.sleep(_RECHECK_SECONDS)
            async with self._changing:
                models = {alias: self._aliases.models[alias] for alias in self._down}
                still = await self._asked_all(models)
                for alias in self._down.keys() - still.keys():
                    _log.info("model.available", model=alias)
                self._down = still

    async def close(self) -> None:
        """Closes the connections to providers."""
        await self._builder.close()

    async def _asked_all(self, models: Mapping[str, LangChainModel]) -> dict[str, str]:
        """What keeps each of the models from answering; each provider is asked once."""
        pings = {model.ping.key: model.ping for model in models.values() if model.ping}
        faults = await asyncio.gather(*(self._asked(ping) for ping in pings.values()))
        found = dict(zip(pings, faults, strict=True))
        down: dict[str, str] = {}
        for alias, model in models.items():
            fault = model.ping and found[model.ping.key]
            if fault:
                down[alias] = fault
        return down

    async def _asked(self, ping: Ping) -> str | None:
        try:
            async with asyncio.timeout(self._ping_seconds):
                await ping.ask()
        except TimeoutError:
            return f"the provider did not answer within {self._ping_seconds:g} s"
        except RunnelError as error:
            return error.message
        except Exception as error:  # noqa: BLE001 - providers' clients raise anything
            # One provider's client must not end the start, nor the watch, for all the others.
            _log.exception("model.not_checked")
            return f"the provider could not be asked ({type(error).__name__})"
        return None

    def _alias(self, name: str | None) -> str:
        names = ", ".join(self._aliases.listed)
        if name is None:
            raise RunnelError(Code.UNKNOWN_MODEL, f"Name a `model`: {names}.", field="model")
        if name in self._aliases.listed:
            return name
        named_so = [each.alias for each in self._aliases.listed.values() if each.model == name]
        if len(named_so) != 1:
            message = f"There is no model of that name. There are: {names}."
            raise RunnelError(Code.UNKNOWN_MODEL, message, field="model")
        return named_so[0]

    def _unavailable(self, alias: str) -> RunnelError:
        if alias in self._aliases.missing:
            message = f"{alias}: {self.why_not(alias)}"
            return RunnelError(Code.MODEL_UNAVAILABLE, message, retryable=False)
        error = RunnelError(
            Code.MODEL_UNAVAILABLE,
            f"{alias} cannot be asked just now.",
            retry_after=_RECHECK_SECONDS,
        )
        # Where its provider is, and what it says, is for whoever runs the server: no client is
        # shown notes.
        error.add_note(f"{alias}: {self.why_not(alias)}")
        return error


def strict(catalog: ModelCatalog) -> None:
    """Raises StartupError if any alias cannot be asked."""
    if faults := catalog.faults():
        raise StartupError("\n".join(faults))
