"""The JSON shapes of what admins are answered."""

from datetime import datetime
from typing import Literal

from typing_extensions import TypedDict

from runnel.edge.http.shapes import ModelShape, ModelsShape, SpentShape, UserShape


class ManagedUserShape(UserShape):
    """An account; `disabled_at` is null while it may come in."""

    created_at: datetime
    disabled_at: datetime | None


class ListedUserShape(ManagedUserShape):
    """`last_login_at` is when its newest login was opened."""

    last_login_at: datetime | None


class ListedUsersShape(TypedDict):
    users: list[ListedUserShape]
    next_cursor: str | None


class NewUserShape(ManagedUserShape):
    """`password` is there if one was made up; nobody is told it again."""

    password: str | None


class NewPasswordShape(TypedDict):
    """`password` is null if it was given."""

    password: str | None


class ModelEndsShape(TypedDict):
    """Answers of the last 24 hours that have ended; `errors` by code. The times to the first token
    are percentiles in milliseconds.
    """

    generations: int
    failed: int
    errors: dict[str, int]
    first_token_ms_p50: int | None
    first_token_ms_p95: int | None


class AliasShape(ModelShape):
    """`why_not`: why it cannot be asked now. `fallbacks` stand in for it, before the first token
    and, where `restarts`, also for an answer that has broken off.
    """

    why_not: str | None
    fallbacks: list[str]
    restarts: bool
    last_24_hours: ModelEndsShape


class AliasesShape(TypedDict):
    default: str | None
    models: list[AliasShape]
    next_cursor: str | None


class SpellShape(SpentShape):
    """What was asked in one hour or day, from `begins` on. `errors`: the failed by their code.
    Times are means, in milliseconds.
    """

    begins: datetime
    failed: int
    errors: dict[str, int]
    first_token_ms: int | None
    latency_ms: int | None


class TotalShape(SpentShape):
    failed: int


class SpellsShape(TypedDict):
    by: Literal["hour", "day"]
    usage: list[SpellShape]
    next_cursor: str | None
    total: TotalShape


class ReloadShape(ModelsShape):
    """`faults` has a line for each alias that cannot be asked now."""

    faults: list[str]


class ConnectionShape(TypedDict):
    """One WebSocket; `session_id` is told of a session's channel."""

    connection_id: str
    user_id: str
    username: str
    channel: Literal["completions", "session", "user"]
    session_id: str | None
    address: str | None
    user_agent: str | None
    connected_at: datetime


class ConnectionsShape(TypedDict):
    connections: list[ConnectionShape]
    next_cursor: str | None


class EndsShape(TypedDict):
    """Generations that ended; `failed` are those that failed or were interrupted."""

    generations: int
    failed: int
    error_rate: float


class SessionEndsShape(EndsShape):
    session_id: str
    user_id: str
    username: str | None


class SentShape(TypedDict):
    """Bytes of answers' bodies: in the last 60 seconds, and since the instance started."""

    bytes_last_minute: int
    bytes_total: int


class UserSentShape(SentShape):
    user_id: str
    username: str | None


class StatsTotalShape(EndsShape, SentShape): ...


class StatsShape(TypedDict):
    """`sessions`: those with failures since `ends_since`, most failures first. `users`: those to
    whom this instance, which runs since `started_at`, has sent most. Each list has 50 at most.
    """

    started_at: datetime
    ends_since: datetime
    sessions: list[SessionEndsShape]
    users: list[UserSentShape]
    total: StatsTotalShape
