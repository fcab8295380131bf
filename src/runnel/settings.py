"""Every setting of the server, grouped by concern, with its unit in its name. Read once.

Values come from the environment, then from `.env` in the working directory. What stands in
`.env` is put into the environment, so that boto3 and every `api_key_env` find it too.
"""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from dotenv import load_dotenv
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from runnel.errors import StartupError

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Days = Annotated[float, Field(ge=0, le=36_500)]
Count = Annotated[int, Field(ge=1)]
MIN_SECRET_BYTES = 32
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/?#@*\s]+", re.IGNORECASE)
_TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def _parts(value: str) -> list[str]:
    """What stands between commas."""
    return [part.strip() for part in value.split(",") if part.strip()]


def _as_sent(origin: str) -> str:
    """An origin as browsers spell it: in lower case, without the port that goes without saying."""
    scheme, _, rest = origin.rstrip("/").lower().partition("://")
    usual = {"http": ":80", "https": ":443"}.get(scheme)
    return f"{scheme}://{rest.removesuffix(usual)}" if usual else origin.rstrip("/")


def _postgres_url(value: str) -> str:
    """The address of a Postgres database as SQLAlchemy spells it, TLS by libpq's `sslmode`."""
    url = f"postgresql+asyncpg://{value.partition('://')[2]}"
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises ValueError
    except ValueError:
        raise ValueError("has a host or a port that is none") from None
    if not parts.path.strip("/"):
        raise ValueError("names no database: postgresql://user:password@host:5432/runnel")
    query = [("sslmode" if name == "ssl" else name, v) for name, v in parse_qsl(parts.query)]
    if not {mode for name, mode in query if name == "sslmode"} <= set(_TLS_MODES):
        raise ValueError(f"has an sslmode that is none of {', '.join(_TLS_MODES)}")
    # Not put together by urllib: it would leave out the slashes of an empty host.
    asked = f"?{urlencode(query)}" if query else ""
    return f"postgresql+asyncpg://{parts.netloc}{parts.path}{asked}"


class ServerSettings(BaseSettings):
    """Where the server listens and whom it believes."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    root_path: str = ""
    forwarded_allow_ips: str = ""
    environment: Literal["development", "production"] = "development"
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    max_body_bytes: Count = 1024 * 1024
    max_json_depth: Count = 64
    metrics_token: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    shutdown_grace_seconds: Annotated[float, Field(ge=0, le=86_400)] = 20

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split_origins(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(_as_sent(part) for part in _parts(value))
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(origin in ("*", "null") or _ORIGIN.fullmatch(origin) for origin in value):
            raise ValueError("are origins as browsers send them, as https://example.com, or *")
        return value

    @field_validator("forwarded_allow_ips")
    @classmethod
    def _addresses(cls, value: str) -> str:
        try:
            # All else would be taken, and never be found to match.
            for part in _parts(value) if value.strip() != "*" else ():
                ip_network(part)
        except ValueError:
            raise ValueError(
                "are addresses and networks, as 10.0.0.7,172.28.0.0/16, or * alone for everybody"
            ) from None
        return value.strip()

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("root_path")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if value and not value.startswith("/"):
            raise ValueError("begins with a slash, as /runnel")
        return value.rstrip("/")


class StoreSettings(BaseSettings):
    """Where things are kept."""

    data_dir: Path = Path("data")
    database_url: str = ""
    database_pool_size: Count = 5
    database_timeout_seconds: Seconds = 5
    store_retry_seconds: Seconds = 30

    @model_validator(mode="after")
    def _default_database(self) -> Self:
        if not self.database_url:
            self.database_url = f"sqlite+aiosqlite:///{self.data_dir / 'runnel.db'}"
        return self

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if re.match(r"postgres(ql)?(\+asyncpg)?://", value):
            return _postgres_url(value)
        url = re.sub(r"^sqlite:", "sqlite+aiosqlite:", value)
        if url and not re.match(r"sqlite\+aiosqlite:///(?!:memory:)[^?]", url):
            raise ValueError(
                "names a SQLite file, as sqlite:///./data/runnel.db, or a Postgres database, as"
                " postgresql://user:password@host:5432/runnel"
            )
        return url


class InstanceSettings(BaseSettings):
    """Many instances of one server: what they share, and who makes an answer whose maker is gone.

    Without `redis_url` one process is all there is.
    """

    redis_url: str = ""
    redis_key_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")] = "runnel"
    redis_timeout_seconds: Seconds = 5
    lease_seconds: Seconds = 15
    takeover: Literal["restart", "continue", "fail"] = "restart"
    stream_tail_bytes: Count = 64 * 1024

    @field_validator("redis_url")
    @classmethod
    def _known_redis(cls, value: str) -> str:
        if value and not re.match(r"(rediss?|unix)://", value):
            raise ValueError("names a Redis, as redis://user:password@host:6379/0")
        return value


class AccountSettings(BaseSettings):
    """Who may ask."""

    jwt_secret: SecretStr | None = None
    access_token_minutes: Annotated[int, Field(ge=1, le=36_500 * 24 * 60)] = 60
    refresh_token_days: Annotated[int, Field(ge=1, le=36_500)] = 30
    admin_username: str = "admin"
    admin_password: SecretStr | None = None
    registration: Literal["closed", "open"] = "closed"
    anonymous_access: bool = False
    ticket_seconds: Count = 3600
    revocation_check_seconds: Seconds = 2

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value().encode()) < MIN_SECRET_BYTES:
            raise ValueError(
                f"has fewer than {MIN_SECRET_BYTES} bytes; make one with: openssl rand -base64 48"
            )
        return value


class ModelSettings(BaseSettings):
    """Which models answer, and how they are asked."""

    models_file: Path = Path("config/models.json")
    default_model: str | None = None
    title_model: str | None = None
    title_seconds: Seconds = 20
    system_prompt: str | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    openai_client: Literal["direct", "sdk"] = "direct"
    model_name: str = "gpt-4o-mini"
    groq_api_key: SecretStr | None = None
    fireworks_ai_api_key: SecretStr | None = None
    aws_profile: str | None = None
    aws_region: str | None = None
    bedrock_model_id: str | None = None
    bedrock_endpoint_url: str | None = None
    bedrock_max_streams: Annotated[int, Field(ge=1, le=10_000)] = 256
    startup_check: Literal["strict", "warn", "off"] = "strict"
    startup_check_seconds: Seconds = 10
    history_max_tokens: Count = 16_000
    history_max_messages: Count = 400
    demo_tokens_per_second: Annotated[float, Field(gt=0)] = 40


class SessionSettings(BaseSettings):
    """How long sessions are what they are. No days: for ever."""

    session_idle_seconds: Seconds = 1800
    session_close_days: Days = 0
    session_purge_days: Days = 30
    hidden_session_days: Days = 30
    clean_up_seconds: Seconds = 60


class LimitSettings(BaseSettings):
    """How much one user may ask."""

    rate_limit_messages_per_minute: Count = 30
    login_attempts_per_minute: Count = 10
    login_attempts_per_minute_per_address: Count = 30
    max_message_length: Count = 5000


class AttachmentSettings(BaseSettings):
    """How large files may be that come with questions, and how many."""

    attachment_max_bytes: Count = 10 * 1024 * 1024
    attachment_max_pixels: Count = 40_000_000
    attachment_max_characters: Count = 1_000_000
    attachment_pdf_seconds: Seconds = 20
    attachments_per_message: Annotated[int, Field(ge=1, le=100)] = 10
    attachments_bytes_per_user: Count = 1024 * 1024 * 1024
    attachment_unused_hours: Count = 24


class SocketSettings(BaseSettings):
    """The bounds of WebSockets. `websocket_max_connections` is of one instance."""

    websocket_max_connections: Count = 100
    websocket_max_connections_per_user: Count = 20
    websocket_timeout: Seconds = 300
    websocket_auth_seconds: Seconds = 15
    websocket_ping_seconds: Seconds = 25
    websocket_pong_seconds: Seconds = 10
    websocket_max_frame_bytes: Count = 64 * 1024
    websocket_frames_per_second: Count = 100


class TelemetrySettings(BaseSettings):
    """What the server tells of itself, beside its log."""

    runs_dir: Path = Path("runs")
    log_messages: bool = False
    run_log_max_bytes: Count = 64 * 1024 * 1024
    run_log_files: Annotated[int, Field(ge=1, le=1000)] = 5
    run_log_queue_lines: Count = 10_000
    tracing: bool = False


class StreamSettings(BaseSettings):
    """The bounds of one answer and of its stream."""

    headers_after_seconds: Seconds = 5
    heartbeat_seconds: Seconds = 15
    first_token_timeout_seconds: Seconds = 60
    idle_timeout_seconds: Seconds = 60
    generation_timeout_seconds: Seconds = 900
    upstream_retries: Annotated[int, Field(ge=0, le=10)] = 2
    upstream_retry_seconds: Seconds = 4
    abort_wait_seconds: Seconds = 2
    disconnect_grace_seconds: Seconds = 5
    send_timeout_seconds: Seconds = 30
    checkpoint_seconds: Seconds = 1
    stream_retention_seconds: Seconds = 3600
    generation_max_bytes: Count = 4 * 1024 * 1024
    generation_max_events: Count = 250_000
    log_total_bytes: Count = 256 * 1024 * 1024
    read_page_bytes: Count = 256 * 1024


class Settings(
    ServerSettings,
    StoreSettings,
    InstanceSettings,
    AccountSettings,
    ModelSettings,
    SessionSettings,
    LimitSettings,
    AttachmentSettings,
    SocketSettings,
    StreamSettings,
    TelemetrySettings,
):
    """All of them. Names in the environment are these, in capitals."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", validate_default=True)

    @model_validator(mode="after")
    def _instances_share_a_database(self) -> Self:
        if self.redis_url and not self.database_url.startswith("postgresql"):
            raise ValueError(
                "REDIS_URL is for many instances, and a SQLite file is of one process: set"
                " DATABASE_URL to a Postgres database, as postgresql://user:password@host:5432/runnel,"
                " or leave REDIS_URL empty"
            )
        return self

    @model_validator(mode="after")
    def _production_is_strict(self) -> Self:
        if self.environment != "production":
            return self
        if self.jwt_secret is None:
            raise ValueError(
                "JWT_SECRET is needed in production; make one with: openssl rand -base64 48"
            )
        if self.anonymous_access:
            raise ValueError("ANONYMOUS_ACCESS=true is for development only")
        return self


def load_settings(dotenv: Path | None = Path(".env")) -> Settings:
    """The settings of this process. Raises StartupError naming each variable at fault."""
    if dotenv is not None:
        try:
            load_dotenv(dotenv, override=False)
        except (OSError, ValueError) as error:
            raise StartupError(f"{dotenv}: cannot be read as UTF-8 text: {error}") from None
    try:
        return Settings()
    except ValidationError as error:
        raise StartupError("\n".join(_lines(error))) from None


def _lines(error: ValidationError) -> list[str]:
    # The value itself is left out: it may be a secret.
    lines: list[str] = []
    for fault in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in fault["loc"]).upper()
        message = fault["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}" if name else message)
    return lines


def environment_value(name: str) -> str | None:
    """A value that a file names by its variable, as an `api_key_env`; None if it is not set."""
    return os.environ.get(name) or None
