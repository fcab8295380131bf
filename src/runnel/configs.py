"""The settings as each part takes them: none of them knows the settings themselves."""

from datetime import timedelta
from pathlib import Path

from runnel import __version__
from runnel.chat.attachments.service import AttachmentRules
from runnel.chat.attempt import Bounds
from runnel.chat.checking import AskRules
from runnel.chat.retrying import Retries
from runnel.chat.sessions.cleaning import CleanUpRules
from runnel.edge.sockets import SocketBounds
from runnel.secret_values import secrets_of
from runnel.settings import Settings
from runnel.store.ids import now
from runnel.telemetry.opening import TelemetryConfig


def socket_bounds(settings: Settings) -> SocketBounds:
    return SocketBounds(
        most=settings.websocket_max_connections,
        auth_seconds=settings.websocket_auth_seconds,
        silent_seconds=settings.websocket_timeout,
        send_seconds=settings.send_timeout_seconds,
    )


def telemetry_config(settings: Settings) -> TelemetryConfig:
    return TelemetryConfig(
        version=__version__,
        started_at=now(),
        checkout=Path(__file__).parents[2],
        runs_dir=settings.runs_dir,
        run_log_max_bytes=settings.run_log_max_bytes,
        run_log_files=settings.run_log_files,
        run_log_queue_lines=settings.run_log_queue_lines,
        log_messages=settings.log_messages,
        tracing=settings.tracing,
        settings=dict(settings),
        secrets=secrets_of(settings),
    )


def rules_of(settings: Settings) -> AskRules:
    return AskRules(
        max_message_length=settings.max_message_length,
        abort_wait_seconds=settings.abort_wait_seconds,
        max_attachments=settings.attachments_per_message,
    )


def attachment_rules(settings: Settings) -> AttachmentRules:
    return AttachmentRules(
        max_bytes=settings.attachment_max_bytes,
        max_bytes_of_user=settings.attachments_bytes_per_user,
    )


def clean_up_rules(settings: Settings) -> CleanUpRules:
    def after(days: float) -> timedelta | None:
        return timedelta(days=days) if days else None

    return CleanUpRules(
        close_after=after(settings.session_close_days),
        purge_after=after(settings.session_purge_days),
        hidden_after=after(settings.hidden_session_days),
        unused_after=timedelta(hours=settings.attachment_unused_hours),
    )


def bounds_of(settings: Settings) -> Bounds:
    """How long and how large one answer may grow."""
    return Bounds(
        first_token_seconds=settings.first_token_timeout_seconds,
        idle_seconds=settings.idle_timeout_seconds,
        total_seconds=settings.generation_timeout_seconds,
        store_retry_seconds=settings.store_retry_seconds,
        log_retry_seconds=settings.redis_timeout_seconds,
        max_bytes=settings.generation_max_bytes,
        max_events=settings.generation_max_events,
        retries=Retries(settings.upstream_retries, settings.upstream_retry_seconds),
    )
