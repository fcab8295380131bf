"""Which of the values that a server is set up with are secrets."""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from runnel.errors import StartupError
from runnel.models import file
from runnel.models.file import OpenAIAlias
from runnel.settings import Settings, environment_value

#: boto3 reads them by itself; they are no settings of ours.
_AWS_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")


def reveal(secret: Any) -> str | None:
    """What a secret setting is, if it is set."""
    return None if secret is None else secret.get_secret_value()


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
