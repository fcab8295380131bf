"""R: what a server holds in memory when it idles, and for each of 500 open streams."""

from dataclasses import dataclass
from typing import Final

from bench.speed.load import Generator, Load
from bench.speed.servers import ANSWERS, Provider, Server
from bench.speed.streams import DEADLINE_SECONDS, warm

STREAMS: Final = 500
_RAMP_SECONDS: Final = 8
_FULL_SECONDS: Final = 4


@dataclass(frozen=True, slots=True)
class Held:
    """Resident bytes: just started, idle after its first answers, and for a stream above that."""

    fresh: int
    idle: int
    stream: float
    load: Load


def held(server: Server, provider: Provider) -> Held:
    """The server must have been started for this alone."""
    fresh = server.process.resident_bytes()
    warm(server)
    idle = server.process.resident_bytes()
    generator = Generator(server.ask(ANSWERS["R"]), expected=None)
    full = 0

    def watch(elapsed: float) -> None:
        nonlocal full
        begun = len(generator.load.first) == STREAMS or elapsed > DEADLINE_SECONDS / 2
        if not full and begun and elapsed > _RAMP_SECONDS + _FULL_SECONDS:
            full = server.process.resident_bytes()
            provider.finish()

    load = generator.run(
        concurrency=STREAMS,
        answers=STREAMS,
        ramp_seconds=_RAMP_SECONDS,
        deadline_seconds=DEADLINE_SECONDS,
        watch=watch,
    )
    return Held(fresh, idle, (full - idle) / STREAMS, load)
