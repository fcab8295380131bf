"""How the commands begin that tell of faults themselves."""

from runnel.bootstrap.logs import configure_logs
from runnel.settings import Settings, load_settings


def set_up_quietly() -> Settings:
    """As `set_up`, but the log tells only of what nobody foresaw, unless LOG_LEVEL says more.

    Raises StartupError for settings at fault.
    """
    settings = load_settings()
    if "log_level" in settings.model_fields_set:
        configure_logs(settings)
    else:
        configure_logs(settings.model_copy(update={"log_level": "error"}))
    return settings
