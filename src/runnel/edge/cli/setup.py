"""How every command begins: settings read, logs in order."""

from runnel.bootstrap.logs import configure_logs
from runnel.settings import Settings, load_settings


def set_up() -> Settings:
    """Raises StartupError for settings at fault."""
    settings = load_settings()
    configure_logs(settings)
    return settings
