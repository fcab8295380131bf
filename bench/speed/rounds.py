"""The bench's rounds: in each, every server in turn does the same, and one figure follows another."""

import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Final

from bench.speed import (
    backends,
    capacity,
    doors,
    memory,
    pulse,
    requests,
    servers,
    starting,
    streams,
)
from bench.speed.load import Load
from bench.speed.results import FIGURES, Point, Results
from bench.speed.servers import ANSWERS, Server

_MB: Final = 1_000_000
_KB: Final = 1_000
_SEEDED_SESSIONS: Final = 50
#: So far may what failed stand above what passed before it is said.
_COARSE: Final = 1.3
#: How many streams the first search for M tries first.
_STARTS: Final = {"runnel": 64, "passthrough": 64, "tutorial": 16, "litellm": 16}


class Bench:
    """What a round works with."""

    def __init__(
        self, provider: servers.Provider, names: list[str], results: Results, *, quick: bool
    ) -> None:
        self.provider = provider
        self.quick = quick
        self.results = results
        self.names = names
        self._capacities: dict[str, int] = {}

    def run(self, only: list[str]) -> None:
        """One round of what is named."""
        for name in only:
            try:
                WORKLOADS[name](self)
            except (AssertionError, OSError) as error:
                self.results.note(f"{name}: {type(error).__name__}: {error}"[:500])
                _say(f"{name}: {error!r}")

    def servers(self, names: list[str] | None = None) -> Generator[Server]:
        """Each in turn, or those named, started for this alone."""
        for name in self.names if names is None else names:
            with servers.SERVERS[name](self.provider) as server:
                yield server

    @contextmanager
    def runnel(self, **environment: str) -> Generator[Server]:
        with servers.runnel(self.provider, **environment) as server:
            yield server

    def add(self, figure: str, server: str, value: float, load: Load | None = None) -> None:
        kind = FIGURES[figure]
        self.results.add(figure, server, value)
        _say(f"{kind.label:55} {server:12} {value:10.{kind.digits}f} {kind.unit}")
        if load and load.failed:
            what = f"{load.errors} errors, {load.incomplete} incomplete answers"
            self.results.note(f"{kind.label}, {server}: {what}. {load.complaint[:200]}".strip())

    def capacity_of(self, server: Server) -> capacity.Capacity:
        """Searched from what was found in the round before."""
        before = self._capacities.get(server.name)
        found = capacity.capacity(
            server,
            self.provider,
            start=before or _STARTS[server.name],
            again=bool(before),
            quick=self.quick,
        )
        self._capacities[server.name] = found.streams
        return found


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def fast(bench: Bench) -> None:
    for server in bench.servers():
        cost = streams.cost(server, streams.fast(quick=bench.quick))
        bench.add("S", server.name, cost.of_a_token, cost.load)


def paced(bench: Bench) -> None:
    shape = streams.paced(quick=bench.quick)
    for server in bench.servers():
        _add_paced(bench, server, streams.cost(server, shape))
    with servers.direct(bench.provider) as server:
        _add_paced(bench, server, streams.cost(server, shape))


def _add_paced(bench: Bench, server: Server, cost: streams.Cost) -> None:
    if server.name != "direct":
        bench.add("P", server.name, cost.of_a_token, cost.load)
    bench.add("first p50", server.name, cost.first_milliseconds(0.5))
    bench.add("first p99", server.name, cost.first_milliseconds(0.99))
    bench.add("late p99", server.name, cost.late_milliseconds(0.99))


def most(bench: Bench) -> None:
    for server in bench.servers():
        found = bench.capacity_of(server)
        bench.add("M", server.name, found.streams)
        if found.bounded:
            bench.results.note(
                f"M, {server.name}: at least {found.streams}; there the tools are at their end."
            )
        elif found.failing > found.streams * _COARSE:
            bench.results.note(
                f"M, {server.name}: a search ended between {found.streams} and {found.failing}."
            )
        for each in found.probes:
            if each.failed:
                bench.results.note(
                    f"M, {server.name}, {each.streams} streams: {each.failed} failed. {each.complaint[:200]}"
                )
            point = Point(server.name, each.streams, each.tokens_a_second, each.late_p99)
            bench.results.points.append(point)


def many(bench: Bench) -> None:
    # What the others hold is for comparison, and hardly changes: one round tells it.
    measured = "stream" in bench.results.values
    for server in bench.servers(["runnel"] if measured or bench.quick else None):
        held = memory.held(server, bench.provider)
        bench.add("fresh", server.name, held.fresh / _MB)
        bench.add("idle", server.name, held.idle / _MB)
        bench.add("stream", server.name, held.stream / _KB, held.load)


def by_doors(bench: Bench) -> None:
    """Over WebSockets, and with a second reader of each answer."""
    shape = streams.paced(quick=bench.quick)
    answer = ANSWERS[shape.answer]
    with bench.runnel() as server:
        cost = streams.cost(server, shape, doors.socket_ask(server, answer))
        bench.add("socket", server.name, cost.of_a_token, cost.load)
        alone = streams.cost(server, shape)
        cost = streams.cost(server, shape, doors.followed_ask(server, answer))
        own = cost.load.tokens - cost.load.followed
        added = cost.cpu - alone.of_a_token * own
        bench.add("reader", server.name, added / cost.load.followed, cost.load)


def with_redis(bench: Bench) -> None:
    if what := backends.missing():
        bench.results.note(f"With Redis: not measured, for {what}.")
        return
    shape = streams.paced(quick=bench.quick)
    with ExitStack() as stack:
        without = {"DATABASE_URL": stack.enter_context(backends.database())}
        one = stack.enter_context(bench.runnel(**without))
        whole = {
            "DATABASE_URL": stack.enter_context(backends.database()),
            "REDIS_URL": stack.enter_context(backends.redis()),
        }
        other = stack.enter_context(bench.runnel(**whole))
        # The difference is smaller than what the machine's speed changes by from minute to minute:
        # to and fro, so that what changes evenly falls out.
        costs = [streams.cost(server, shape) for server in (one, other, other, one)]
    for figure, (first, second) in (("postgres", costs[::3]), ("redis", costs[1:3])):
        mean = (first.of_a_token + second.of_a_token) / 2
        bench.add(figure, "runnel", mean, first.load if first.load.failed else second.load)


def long(bench: Bench) -> None:
    with bench.runnel() as server:
        for figure, shape in (("short", streams.short), ("long", streams.long)):
            cost = streams.cost(server, shape(quick=bench.quick))
            bench.add(figure, server.name, cost.of_a_token, cost.load)


def asks(bench: Bench) -> None:
    """Of the same server, asks first, and then lists and histories of what was seeded."""
    with bench.runnel() as server:
        _asks(bench, server, "asks", servers.chat(server, stream=False))
        _asks(bench, server, "streamed asks", servers.chat(server, stream=True))
    with servers.bare() as server:
        made = requests.once(server.port, servers.post(server.port, "/sessions", {}))
        body = {"message": servers.MESSAGE, "session_id": made["id"]}
        _asks(bench, server, "asks", servers.post(server.port, "/chat", body, keep=True))


def reads(bench: Bench) -> None:
    """Lists of sessions, and histories, of what was asked before."""
    with bench.runnel() as server:
        body = {"message": servers.MESSAGE, "model": server.prefix + ANSWERS["one"].model}
        for each in range(2 * _SEEDED_SESSIONS):
            name = "talk" if each % 2 else f"talk-{each}"
            whole = body | {"session_id": name}
            requests.once(server.port, servers.post(server.port, "/chat", whole, server.token))
        _reads(bench, server, "/api/chat/sessions", "/api/chat/sessions/talk/messages")
    with servers.bare() as server:
        making = servers.post(server.port, "/sessions", {})
        talk, *_ = (requests.once(server.port, making)["id"] for _ in range(_SEEDED_SESSIONS))
        body = {"message": servers.MESSAGE, "session_id": talk}
        for _ in range(_SEEDED_SESSIONS):
            requests.once(server.port, servers.post(server.port, "/chat", body))
        _reads(bench, server, "/sessions", f"/sessions/{talk}/messages")


def _reads(bench: Bench, server: Server, sessions: str, history: str) -> None:
    for figure, path in (("lists", f"{sessions}?limit=50"), ("histories", f"{history}?limit=100")):
        request = servers.head("GET", server.port, path, server.token)
        page = requests.once(server.port, request)
        rows = page["sessions" if figure == "lists" else "messages"]
        assert len(rows) == (50 if figure == "lists" else 100), len(rows)
        _asks(bench, server, figure, request)


def _asks(bench: Bench, server: Server, figure: str, request: bytes) -> None:
    seconds = 2 if bench.quick else 4
    # Once before, so that all is loaded.
    requests.requests(server.port, request, server.process, seconds=0.3)
    made = requests.requests(server.port, request, server.process, seconds=seconds)
    bench.add(figure, server.name, made.a_second)
    if figure == "asks":
        bench.add("ask CPU", server.name, made.cpu / 1000)
    if made.errors:
        bench.results.note(f"{figure}, {server.name}: {made.errors} errors. {made.complaint[:200]}")


def pauses(bench: Bench) -> None:
    shape = streams.paced(quick=bench.quick)
    with bench.runnel() as server:
        streams.warm(server)
        with pulse.pulse(server.port) as measured:
            streams.cost(server, shape)
        bench.add("pulse p99", server.name, measured.p99)
        bench.add("pulse longest", server.name, measured.longest)


def start(bench: Bench) -> None:
    bench.add("start", "runnel", starting.start_seconds())
    bench.add("models", "runnel", starting.models_seconds())


WORKLOADS: Final[dict[str, Callable[[Bench], None]]] = {
    "S": fast,
    "P": paced,
    "M": most,
    "R": many,
    "doors": by_doors,
    "redis": with_redis,
    "long": long,
    "asks": asks,
    "reads": reads,
    "pauses": pauses,
    "start": start,
}
