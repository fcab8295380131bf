"""The settings as each part takes them: none of them knows the settings themselves."""

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from runnel import __version__
from runnel.chat.attachments.service import AttachmentRules
from runnel.chat.attempt import Bounds
from runnel.chat.checking import AskRules
from runnel.chat.retrying import Retries
from runnel.chat.sessions.cleaning import CleanUpRules
from runnel.edge.sockets import SocketBounds
from runnel.errors import StartupError
from runnel.models import file
from runnel.models.building import CatalogConfig
from runnel.models.file import OpenAIAlias
from runnel.settings import Settings, environment_value
from runnel.store.ids import now
from runnel.telemetry.opening import TelemetryConfig

#: boto3 reads them by itself; they are no settings of ours.
_AWS_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")


def reveal(secret: Any) -> str | None:
    """What a secret setting is, if it is set."""
    return None if secret is None else secret.get_secret_value()


def catalog_config(settings: Settings) -> CatalogConfig:
    return CatalogConfig(
        models_file=settings.models_file,
        default_model=settings.default_model,
        title_model=settings.title_model,
        system_prompt=settings.system_prompt,
        temperature=settings.temperature,
        context_tokens=settings.history_max_tokens,
        openai_api_key=reveal(settings.openai_api_key),
        openai_base_url=settings.openai_base_url,
        openai_model=settings.model_name,
        bedrock_model=settings.bedrock_model_id,
        bedrock_endpoint_url=settings.bedrock_endpoint_url,
        bedrock_max_streams=settings.bedrock_max_streams,
        aws_region=settings.aws_region,
        aws_profile=settings.aws_profile,
        demo_tokens_per_second=settings.demo_tokens_per_second,
        environment=environment_value,
    )


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


def secrets_of(settings: Settings) -> list[str]:
    """Values that must never be written anywhere."""
    values = [value for _, value in settings if value is not None]
    secrets = [v.get_secret_value() for v in values if hasattr(v, "get_secret_value")]
    names = (*_AWS_SECRETS, *_key_names(settings))
    secrets += [value for name in names if (value := environment_value(name))]
    return secrets + _passwords_in(settings.database_url) + _passwords_in(settings.redis_url)


def _passwords_in(url: str) -> list[str]:
    """As they stand in an address, and as they are."""
    parts = urlsplit(url)
    asked = [value for name, value in parse_qsl(parts.query) if name == "password"]
    return [value for value in (parts.password, unquote(parts.password or ""), *asked) if value]


def _key_names(settings: Settings) -> set[str]:
    """The variables that models.json names for keys."""
    try:
        aliases = file.read(settings.models_file).aliases.values()
    except StartupError:
        return set()  # whoever builds the models says why
    return {
        alias.api_key_env
        for alias in aliases
        if isinstance(alias, OpenAIAlias) and alias.api_key_env is not None
    }
