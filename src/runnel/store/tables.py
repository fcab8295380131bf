"""The tables. Migrations in alembic/ make them; a test holds the two together."""

import json
from datetime import UTC, date, datetime
from typing import Any

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    false,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import UserDefinedType

Id = String(36)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware datetimes in UTC, also where the database keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class TsVector(UserDefinedType[str]):
    """Postgres' own, named here so that nobody loads all that SQLAlchemy knows of Postgres."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TSVECTOR"


def to_json(value: object) -> str:
    """What columns of JSON are written with; SQLAlchemy's own way takes ten times as long."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # as of numbers beyond 64 bits
        return json.dumps(value)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class UserRow(Base):
    """An account. `name_key` is the name in lower case: names differ by more than case.

    `leaving_until`: it is being deleted, and nothing is begun for it till then.
    """

    __tablename__ = "users"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    name_key: Mapped[str] = mapped_column(String(64), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    leaving_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LoginRow(Base):
    """One login: the family of all tokens that descend from it."""

    __tablename__ = "logins"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class RefreshTokenRow(Base):
    """A refresh token by its `jti`. Used ones are kept a little while, to answer two tabs."""

    __tablename__ = "refresh_tokens"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    login_id: Mapped[str] = mapped_column(ForeignKey("logins.id", ondelete="CASCADE"), index=True)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class ApiKeyRow(Base):
    """A long-lived key, kept as the SHA-256 of its text."""

    __tablename__ = "api_keys"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(128))
    prefix: Mapped[str] = mapped_column(String(16))
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


class SessionRow(Base):
    """A conversation. `leaf_id` is the last message of its active branch.

    A `hidden` one was made for a client that keeps the talk itself; no list shows it. `title_by`
    says where the title is from: `question`, `asking` (from there too, and a model is asked for
    another one, or was in vain), `model`, `user` (who may have taken back one that a model gave).
    The clean-up counts what was imported from `imported_at`, whatever happened in it before.
    From `purged_at` on it is gone for everybody; it is hidden, has no name, and its rows follow.
    """

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str | None] = mapped_column(String(128))
    # No foreign key: it would make a circle with messages.session_id.
    leaf_id: Mapped[str | None] = mapped_column(Id)
    hidden: Mapped[bool] = mapped_column(default=False, server_default=false())
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    last_activity: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    purged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    imported_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    title: Mapped[str | None] = mapped_column(Text)
    title_by: Mapped[str | None] = mapped_column(String(16))
    project_id: Mapped[str | None] = mapped_column(String(128))
    model_preference: Mapped[str | None] = mapped_column(String(255))
    language: Mapped[str | None] = mapped_column(String(64))
    stream_responses: Mapped[bool] = mapped_column(default=True, server_default=true())
    system_prompt: Mapped[str | None] = mapped_column(Text)
    user_agent: Mapped[str | None] = mapped_column(Text)
    ip_address: Mapped[str | None] = mapped_column(Text)
    client_version: Mapped[str | None] = mapped_column(Text)
    __table_args__ = (Index("ix_sessions_user_id_last_activity", "user_id", "last_activity"),)


class MessageRow(Base):
    """One turn in a session's tree. An assistant message is empty until its generation ends.

    `depth` counts from 0 at the root. A stem is a stretch of the tree without a fork: a message
    goes on with its parent's stem, unless a sibling does already; then it begins a stem of its
    own. `stem_id` is the first message of the stem. So a branch is a few ranges of depths, one a
    stem, however long it is.
    """

    __tablename__ = "messages"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    # Messages go with their session. A cascade from parent to child would go a level deeper for
    # each, and SQLite stops at a thousand.
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id"))
    role: Mapped[str] = mapped_column(String(16))
    content: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    stem_id: Mapped[str] = mapped_column(Id, server_default="")
    depth: Mapped[int] = mapped_column(server_default="0")
    helpful: Mapped[bool | None]
    rating: Mapped[int | None] = mapped_column(SmallInteger)
    __table_args__ = (
        # One message goes on with a stem, however many are added at once.
        Index("uq_messages_stem_id_depth", "stem_id", "depth", unique=True),
        Index("ix_messages_session_id_depth_id", "session_id", "depth", "id"),
    )


class GenerationRow(Base):
    """The making of one answer.

    `epoch` is 0 before a log may begin. `last_offset` is, with the epoch, the terminal
    position once the generation has ended. `owner`, `fence` and `lease_until` say which
    instance may write: of many, what one was silent about till then, or gave back (null), another
    takes over. `needs_reader`: it is aborted once nobody follows it any more. `ask_key` is the client's, `ask_fingerprint` says what was asked with it.
    `context` says what of the branch the model was given; `agent` is the graph's node that spoke.
    """

    __tablename__ = "generations"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    session_id: Mapped[str] = mapped_column(
        ForeignKey("sessions.id", ondelete="CASCADE"), index=True
    )
    message_id: Mapped[str] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), unique=True
    )
    user_message_id: Mapped[str] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), index=True
    )
    model: Mapped[str] = mapped_column(String(255))
    provider: Mapped[str] = mapped_column(String(64))
    provider_model: Mapped[str] = mapped_column(String(255))
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    context: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    agent: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(16))
    owner: Mapped[str] = mapped_column(Id)
    fence: Mapped[int]
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    needs_reader: Mapped[bool] = mapped_column(server_default=false())
    epoch: Mapped[int]
    last_offset: Mapped[int | None]
    finish_reason: Mapped[str | None] = mapped_column(String(32))
    ask_key: Mapped[str | None] = mapped_column(String(255))
    ask_fingerprint: Mapped[str | None] = mapped_column(String(64))
    abort_requested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    aborted_by: Mapped[str | None] = mapped_column(String(16))
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None] = mapped_column(Text)
    error_retryable: Mapped[bool | None]
    error_retry_after: Mapped[float | None]
    prompt_tokens: Mapped[int]
    completion_tokens: Mapped[int | None]
    usage_source: Mapped[str | None] = mapped_column(String(16))
    cost: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    first_token_ms: Mapped[int | None]
    latency_ms: Mapped[int | None]
    __table_args__ = (Index("ix_generations_user_id_created_at", "user_id", "created_at"),)


class CheckpointRow(Base):
    """Text of a running answer since the checkpoint before; folded into the message at its end."""

    __tablename__ = "checkpoints"
    generation_id: Mapped[str] = mapped_column(
        ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True
    )
    epoch: Mapped[int] = mapped_column(primary_key=True)
    last_offset: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class AttachmentRow(Base):
    """A file that a user gave, without its bytes: these are kept outside the database, by its id.

    It belongs to the first session in which it is used. `characters` is the length of its text,
    if a model is given one.
    """

    __tablename__ = "attachments"
    id: Mapped[str] = mapped_column(Id, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    session_id: Mapped[str | None] = mapped_column(
        ForeignKey("sessions.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(String(128))
    bytes: Mapped[int] = mapped_column(BigInteger)
    width: Mapped[int | None]
    height: Mapped[int | None]
    characters: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class MessageAttachmentRow(Base):
    """An attachment of a message, at its place among them."""

    __tablename__ = "message_attachments"
    message_id: Mapped[str] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True
    )
    attachment_id: Mapped[str] = mapped_column(
        ForeignKey("attachments.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    ordinal: Mapped[int]


class SearchDocumentRow(Base):
    """What is found of a title, or of a passage of a message: its words, folded and in order.

    Without `message_id` it is the session's title. The words are those of the text's characters
    from `begins` to `ends`. `owner` is the user's id without its dashes, one word. SQLite finds
    words by the table `search_index` (FTS5) that triggers keep beside this one; in Postgres
    `words` is a tsvector, which has the owner as a word too, under a GIN index.
    """

    __tablename__ = "search_documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(
        ForeignKey("sessions.id", ondelete="CASCADE"), index=True
    )
    message_id: Mapped[str | None] = mapped_column(
        ForeignKey("messages.id", ondelete="CASCADE"), index=True
    )
    owner: Mapped[str] = mapped_column(String(32))
    begins: Mapped[int]
    ends: Mapped[int]
    words: Mapped[str] = mapped_column(Text().with_variant(TsVector(), "postgresql"))


class SearchPendingRow(Base):
    """A text that is not in the table above yet: a message, or, without `message_id`, a title.

    It refers to nothing, so that who deletes a message does not wait for who indexes it: what is
    gone by then is passed over. With a user or a session it goes as the last. `characters` is how long the text is, as far as it is searched.
    """

    __tablename__ = "search_pending"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(Id)
    session_id: Mapped[str] = mapped_column(Id)
    message_id: Mapped[str | None] = mapped_column(Id)
    characters: Mapped[int]


class KeptUsageRow(Base):
    """What answers took that were purged since: their usage outlives them, without their texts."""

    __tablename__ = "kept_usage"
    user_id: Mapped[str] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), primary_key=True
    )
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    model: Mapped[str] = mapped_column(String(255), primary_key=True)
    provider: Mapped[str] = mapped_column(String(64), primary_key=True)
    generations: Mapped[int] = mapped_column(BigInteger)
    prompt_tokens: Mapped[int] = mapped_column(BigInteger)
    completion_tokens: Mapped[int] = mapped_column(BigInteger)
    cost: Mapped[float | None]
