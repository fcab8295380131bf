"""Telling several of one end: whoever fails at it hurts nobody."""

from datetime import UTC, datetime

from structlog.testing import capture_logs

from runnel.chat.entities import Generation, Status
from runnel.telemetry.metrics import Metrics
from runnel.telemetry.observers import Observers

ENDED = Generation(
    id="g",
    user_id="u",
    session_id="s",
    message_id="m",
    user_message_id="n",
    model="chat/test",
    provider="openai",
    provider_model="test",
    status=Status.COMPLETED,
    fence=1,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_each_is_told_though_another_fails() -> None:
    told: list[tuple[str, str]] = []

    def fails(_generation: Generation, _question: str) -> None:
        raise OSError

    def tells(generation: Generation, question: str) -> None:
        told.append((generation.id, question))

    metrics = Metrics()
    with capture_logs() as logged:
        Observers(metrics, fails, tells).ended(ENDED, "why?")
    assert told == [("g", "why?")]
    assert [entry["event"] for entry in logged] == ["telemetry.failed"]
    assert b'runnel_generations_total{status="completed"} 1.0' in metrics.exposition()
