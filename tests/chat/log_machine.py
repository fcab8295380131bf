"""A stream log driven at random and held against a model of it in plain Python.

An adapter subclasses LogMachine and says how its log is made, trimmed and waited for. The
invariants are DESIGN.md's: no gap, no repeat, in order (1); one end (2); final is final (5).
RUNNEL_LOG_EXAMPLES sets how many runs are tried.
"""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from log_contract import END, START
from log_model import PLACES, Client, Known, Reading

from runnel.chat.ports import LogMissing, LogReader, PositionConflict, StaleFence, StreamLog
from runnel.events import Aborted, Event, Failed, Position, Reset, Terminal, Token, Usage

T = TypeVar("T")

SETTINGS: Final = settings(
    max_examples=int(os.environ.get("RUNNEL_LOG_EXAMPLES", "100")),
    stateful_step_count=40,
    deadline=None,
    database=None,
    derandomize=False,
    print_blob=True,
)
#: In seconds: a run that fails takes its time to find its shortest form.
TIMEOUT: Final = 400 + SETTINGS.max_examples
_TERMINALS: Final[dict[str, Terminal]] = {
    "end": END,
    "aborted": Aborted("user", Usage(1, 1, "estimated")),
    "failed": Failed("upstream_error", "It broke off.", retryable=True),
}
#: What the readers do when something is appended. Cancelled: in some turn of the loop.
_MEANWHILE: Final = ["wait", "wait", "nothing", "ask", "wait and are cancelled"]
#: What happens to readers and logs.
_LOSSES: Final = ["cut", "cut", "cancel", *["trim", "cut all, trim"] * 2, "hide", "drop"]
_RISES: Final = st.sampled_from([1, 1, 2, 0, -1])
_GENERATIONS: Final = st.sampled_from(["one", "one", "one", "two"])
_BATCHES: Final = st.lists(
    st.lists(st.text("ab \n:жé\u0301\u2028🙂", min_size=1, max_size=5), min_size=1, max_size=4),
    min_size=1,
    max_size=3,
)


class LogMachine(Reading, RuleBasedStateMachine):
    """Adapters give `make_log`, `trim`, and what they need of the rest.

    A rule does one thing to the log and to the model; then `deliver` lets the readers that
    wait have what has come, and checks it.
    """

    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.log = self._do(self.make_log())
        self.known = {name: Known(name) for name in ("one", "two")}
        self.attached = []

    async def make_log(self) -> StreamLog:
        """An empty log, whose pages hold few batches."""
        raise NotImplementedError

    async def trim(self) -> None:
        """Lets every finished log go that has no reader."""
        raise NotImplementedError

    async def close_log(self) -> None:
        """Gives back what `make_log` took."""

    @rule(target=clients, name=_GENERATIONS, place=st.sampled_from(PLACES), far=st.integers(1, 3))
    def attach(self, name: str, place: str, far: int) -> Client:
        known = self.known[name]
        after = known.position(place, far)
        client = Client(known, self._do(self._read(name, after)), after)
        self.attached.append(client)
        return client

    @rule(client=clients, everything=st.booleans())
    def read(self, client: Client, *, everything: bool) -> None:
        """A page, or all there is; one that was cut, or has ended, comes back first."""
        if client.over:
            self._do(self._read_all(client))
            self.lose(client, "cut")
            client.attach(self._do(self._read(client.known.name, client.cursor)))
        self._do(self._read_all(client) if everything else self._ask([client]))

    @rule(
        name=_GENERATIONS,
        batches=_BATCHES,
        terminal=st.sampled_from([""] * 9 + list(_TERMINALS)),
        alone=st.booleans(),
        newer=st.integers(0, 1),
        meanwhile=st.sampled_from(_MEANWHILE),
        turns=st.integers(0, 2),
    )
    def append(
        self,
        name: str,
        batches: list[list[str]],
        terminal: str,
        newer: int,
        meanwhile: str,
        *,
        turns: int,
        alone: bool,
    ) -> None:
        """Batches of tokens, the last of them maybe with an end; or an end alone."""
        written: list[list[Event]] = [[Token(text) for text in texts] for texts in batches]
        if terminal and alone:
            written = [[_TERMINALS[terminal]]]
        elif terminal:
            written[-1].append(_TERMINALS[terminal])
        known = self.known[name]
        if not known.kept:
            self.begin(name, rise=1, newer=0, anew=False)
            self.deliver()
        if known.finished:
            append = self._write(name, known.fence, known.last, written[0])
            self._do(self._refused(known, append, PositionConflict))
        else:
            self._do(self._append(known, written, newer, meanwhile, turns))

    @rule(name=_GENERATIONS, rise=_RISES, newer=st.integers(-1, 1), anew=st.booleans())
    def begin(self, name: str, rise: int, newer: int, *, anew: bool) -> None:
        known = self.known[name]
        epoch, fence = known.epoch + rise, known.fence + newer
        first = (
            replace(START, generation_id=name) if epoch == 1 else Reset("" if anew else known.text)
        )
        reasons: list[type[Exception]] = [PositionConflict] if rise <= 0 else []
        if newer < 0:
            reasons.append(StaleFence)
        if known.kept and reasons:
            self._do(self._refused(known, self._begun(name, epoch, fence, first), *reasons))
        elif not reasons:
            last = self._do(self._begun(name, epoch, fence, first))
            known.begin(epoch, fence, first)
            assert last == known.last

    @rule(
        name=_GENERATIONS,
        epochs=st.sampled_from([0, 0, 1, -1]),
        offsets=st.sampled_from([0, 0, -1, 1, 7]),
        fences=st.integers(-1, 0),
        terminal=st.sampled_from(["", *_TERMINALS]),
    )
    def append_where_it_is_refused(
        self, name: str, epochs: int, offsets: int, fences: int, terminal: str
    ) -> None:
        known, event = self.known[name], _TERMINALS.get(terminal, Token("refused"))
        after = Position(max(known.epoch + epochs, 0), max(known.last.offset + offsets, 0))
        reasons: list[type[Exception]] = []
        if not known.kept or after.epoch != known.epoch:
            reasons.append(LogMissing)
        elif after != known.last or known.finished:
            reasons.append(PositionConflict)
        if known.kept and fences < 0:
            reasons.append(StaleFence)
        if reasons:
            append = self._write(name, known.fence + fences, after, [event])
            self._do(self._refused(known, append, *reasons))

    @rule(client=clients, how=st.sampled_from(_LOSSES))
    def lose(self, client: Client, how: str) -> None:
        """The client goes, or gives up waiting; or its log goes, or lets go of its readers."""
        known, clients = client.known, self._clients_of(client.known.name)
        if how == "cut":
            self._do(self._close([client], client.reader.close))
        elif how == "cancel":
            self._do(self._cancel([client]))
        elif how == "hide":
            self._do(self._close(clients, lambda: self.log.hide(known.name)))
        elif how == "drop":
            known.kept = False
            self._do(self._close(clients, lambda: self.log.drop(known.name)))
        else:
            for each in clients if how == "cut all, trim" else []:
                self.lose(each, "cut")
            self._do(self.trim())
            for log in self.known.values():
                left = all(client.closed for client in self._clients_of(log.name))
                log.kept = log.kept and not (log.finished and left)

    @invariant()
    def deliver(self) -> None:
        """Who waits gets what has come, and nothing else."""
        self._do(self._deliver())

    @invariant()
    def compare(self) -> None:
        """Each text is a beginning of its log's, and at the top the whole."""
        for client in self.attached:
            known = client.known
            if client.epoch == known.epoch and client.text is not None:
                assert known.text.startswith(client.text)
                assert client.cursor != known.last or client.text == known.text

    def teardown(self) -> None:
        try:
            self._do(self._give_back())
        finally:
            self.runner.close()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    async def _read(self, name: str, after: Position | None) -> LogReader:
        return self.log.read(name, after)

    async def _append(
        self,
        known: Known,
        batches: Sequence[Sequence[Event]],
        newer: int,
        meanwhile: str,
        turns: int,
    ) -> None:
        clients = self._clients_of(known.name)
        if meanwhile == "ask":
            # Who has no place in the log yet might find another one halfway.
            await self._ask(client for client in clients if client.epoch == known.epoch)
        elif meanwhile != "nothing":
            for client in clients:
                await self._read_all(client)
        known.fence += newer
        for events in batches:
            last = await self.log.append(known.name, known.fence, known.last, events)
            known.events += events
            assert last == known.last
        if meanwhile == "wait and are cancelled":
            for _ in range(turns):
                await asyncio.sleep(0)
            await self._cancel(clients)
        if known.finished:
            for place in PLACES:
                await self._look(known, known.position(place))

    async def _write(
        self, name: str, fence: int, after: Position, events: Sequence[Event]
    ) -> Position:
        return await self.log.append(name, fence, after, events)

    async def _begun(self, name: str, epoch: int, fence: int, first: Event) -> Position:
        return await self.log.begin(name, epoch, fence, first)

    async def _refused(
        self, known: Known, work: Coroutine[Any, Any, object], *reasons: type[Exception]
    ) -> None:
        with pytest.raises(reasons):
            await work
        if known.kept:
            await self._look(known, None)

    async def _deliver(self) -> None:
        await self._served()
        for known in self.known.values():
            assert await self.log.epoch(known.name) == (known.epoch if known.kept else None)

    async def _give_back(self) -> None:
        """Checks nothing: it would hide what has failed."""
        for client in self.attached:
            client.reader.close()
            if client.page is not None:
                client.page.cancel()
        await self.close_log()
