"""All that tells of one server, opened together: metrics, run log, and tracing where it is wanted."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runnel.chat.entities import Generation
from runnel.errors import StartupError
from runnel.telemetry.forgetting import RunTexts
from runnel.telemetry.logs import concealing
from runnel.telemetry.manifest import manifest
from runnel.telemetry.metrics import Metrics
from runnel.telemetry.observers import Observers
from runnel.telemetry.run_folder import RunFolder
from runnel.telemetry.runs import RunLog, encoded, new_run_id
from runnel.telemetry.traffic import Traffic

if TYPE_CHECKING:
    from runnel.telemetry.tracing import Tracing

#: An ASGI application.
App = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What of the settings matters here. `settings` are all of them, for the manifest.

    `secrets` must not be written anywhere. `checkout` is where the code stands.
    """

    version: str
    started_at: datetime
    checkout: Path
    runs_dir: Path
    run_log_max_bytes: int
    run_log_files: int
    run_log_queue_lines: int
    log_messages: bool
    tracing: bool
    settings: Mapping[str, object] = field(repr=False)
    secrets: Iterable[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Telemetry:
    """`traced` puts the application into what traces it, if anything does."""

    started_at: datetime
    metrics: Metrics
    traffic: Traffic
    runs: RunLog
    texts: RunTexts
    observers: Observers
    traced: Callable[[App], App]

    def found_ended(self, generation: Generation, question: str) -> None:
        """Tells of an answer that a crash of an earlier run has ended."""
        self.metrics.spent(generation)
        self.runs.ended(generation, question)


@asynccontextmanager
async def open_telemetry(config: TelemetryConfig) -> AsyncGenerator[Telemetry]:
    """What was told is written, or sent, by its end. Raises StartupError."""
    conceal = concealing(config.secrets)
    metrics = Metrics()
    tracing = _tracing(config, conceal) if config.tracing else None
    runs = _run_log(config, metrics, conceal)
    async with AsyncExitStack() as stack:
        if tracing is not None:
            stack.push_async_callback(tracing.close)
        runs.open()
        stack.push_async_callback(asyncio.to_thread, runs.close)
        yield Telemetry(
            started_at=config.started_at,
            metrics=metrics,
            traffic=Traffic(metrics.bytes_sent),
            runs=runs,
            texts=RunTexts(config.runs_dir, runs),
            observers=Observers(metrics, runs.ended, *([tracing.ended] if tracing else [])),
            traced=tracing.around if tracing else _untouched,
        )


def _run_log(config: TelemetryConfig, metrics: Metrics, conceal: Callable[[str], str]) -> RunLog:
    run_id = new_run_id(config.started_at)
    members = manifest(
        run_id, config.started_at, config.settings, checkout=config.checkout, conceal=conceal
    )
    folder = RunFolder(
        config.runs_dir / run_id,
        encoded(members),
        max_bytes=config.run_log_max_bytes,
        files=config.run_log_files,
    )
    return RunLog(
        folder,
        waiting=config.run_log_queue_lines,
        texts=config.log_messages,
        conceal=conceal,
        lost=metrics.line_lost,
    )


def _tracing(config: TelemetryConfig, conceal: Callable[[str], str]) -> "Tracing":
    try:
        # Not before it is wanted: it is in an extra, and takes long to import.
        from runnel.telemetry.tracing import Tracing  # noqa: PLC0415 - as said
    except ImportError as error:
        raise StartupError(
            f"TRACING=true needs {error.name};"
            " install the extra where Runnel is installed: pip install -e '.[tracing]'"
        ) from None
    try:
        return Tracing(config.version, conceal)
    except ValueError as error:
        raise StartupError(f"TRACING=true: an OTEL_ variable cannot be used: {error}") from None


def _untouched(app: App) -> App:
    return app
