"""The log of a process."""

from runnel.secret_values import secrets_of
from runnel.settings import Settings
from runnel.telemetry import logs


def configure_logs(settings: Settings) -> None:
    """Structured logs of the whole process, without any secret that the settings hold."""
    logs.configure(
        level=settings.log_level,
        as_json=settings.environment == "production",
        secrets=secrets_of(settings),
    )
