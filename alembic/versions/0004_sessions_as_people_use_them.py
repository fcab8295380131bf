"""sessions as people use them: trees, settings, attachments, search, usage that outlives answers"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from runnel.chat.sessions.passages import SEARCHED_CHARACTERS, passages
from runnel.store.search_syntax import kept_words, owner_of

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# Until now nothing has made a fork: each session is one stem.
_STEMS = """
WITH RECURSIVE chain(id, stem_id, depth) AS (
    SELECT id, id, 0 FROM messages WHERE parent_id IS NULL
    UNION ALL
    SELECT messages.id, chain.stem_id, chain.depth + 1
    FROM chain JOIN messages ON messages.parent_id = chain.id
)
UPDATE messages SET stem_id = chain.stem_id, depth = chain.depth
FROM chain WHERE chain.id = messages.id
"""
_INDEX = """
CREATE VIRTUAL TABLE search_index USING fts5(
    owner, words, content='search_documents', content_rowid='id', tokenize='ascii'
)
"""
_DELETE = (
    "INSERT INTO search_index(search_index, rowid, owner, words)"
    " VALUES ('delete', old.id, old.owner, old.words);"
)
_INSERT = "INSERT INTO search_index(rowid, owner, words) VALUES (new.id, new.owner, new.words);"
_TRIGGERS = {
    "search_documents_insert": f"AFTER INSERT ON search_documents BEGIN {_INSERT} END",
    "search_documents_delete": f"AFTER DELETE ON search_documents BEGIN {_DELETE} END",
    "search_documents_update": (f"AFTER UPDATE ON search_documents BEGIN {_DELETE} {_INSERT} END"),
}

_SAID = sa.text(
    """
    SELECT messages.id, messages.session_id, sessions.user_id,
        substr(messages.content, 1, :most) AS text
    FROM messages JOIN sessions ON sessions.id = messages.session_id
    WHERE messages.id > :last AND messages.role IN ('user', 'assistant')
        AND messages.content <> '' AND NOT sessions.hidden
    ORDER BY messages.id LIMIT :batch
    """
)
_BATCH = 50


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    time = sa.DateTime(timezone=True)
    for column in (
        sa.Column("closed_at", time, nullable=True),
        sa.Column("purged_at", time, nullable=True),
        sa.Column("imported_at", time, nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("title_by", sa.String(length=16), nullable=True),
        sa.Column("project_id", sa.String(length=128), nullable=True),
        sa.Column("model_preference", sa.String(length=255), nullable=True),
        sa.Column("language", sa.String(length=64), nullable=True),
        sa.Column("stream_responses", sa.Boolean(), server_default=sa.true(), nullable=False),
        sa.Column("system_prompt", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("ip_address", sa.Text(), nullable=True),
        sa.Column("client_version", sa.Text(), nullable=True),
    ):
        op.add_column("sessions", column)
    for name in ("last_activity", "closed_at", "purged_at"):
        op.create_index(op.f(f"ix_sessions_{name}"), "sessions", [name], unique=False)

    op.add_column(
        "messages", sa.Column("stem_id", sa.String(length=36), server_default="", nullable=False)
    )
    op.add_column("messages", sa.Column("depth", sa.Integer(), server_default="0", nullable=False))
    op.add_column("messages", sa.Column("helpful", sa.Boolean(), nullable=True))
    op.add_column("messages", sa.Column("rating", sa.SmallInteger(), nullable=True))
    op.execute(_STEMS)
    op.create_index("uq_messages_stem_id_depth", "messages", ["stem_id", "depth"], unique=True)
    op.drop_index(op.f("ix_messages_session_id"), table_name="messages")
    op.create_index("ix_messages_session_id_depth_id", "messages", ["session_id", "depth", "id"])
    op.create_index(
        "ix_messages_system",
        "messages",
        ["session_id", "depth"],
        sqlite_where=sa.text("role = 'system'"),
        postgresql_where=sa.text("role = 'system'"),
    )

    op.add_column("generations", sa.Column("context", sa.JSON(), nullable=True))
    op.add_column("generations", sa.Column("agent", sa.Text(), nullable=True))
    op.create_index(op.f("ix_generations_session_id"), "generations", ["session_id"])

    op.create_table(
        "attachments",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.String(length=128), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("characters", sa.Integer(), nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.id"],
            name=op.f("fk_attachments_session_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_attachments_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
    )
    op.create_index(op.f("ix_attachments_session_id"), "attachments", ["session_id"])
    op.create_index(op.f("ix_attachments_user_id"), "attachments", ["user_id"])
    op.create_index(
        "ix_attachments_unused",
        "attachments",
        ["created_at"],
        sqlite_where=sa.text("session_id IS NULL"),
        postgresql_where=sa.text("session_id IS NULL"),
    )
    op.create_table(
        "message_attachments",
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("attachment_id", sa.String(length=36), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attachment_id"],
            ["attachments.id"],
            name=op.f("fk_message_attachments_attachment_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
            name=op.f("fk_message_attachments_message_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("message_id", "attachment_id", name=op.f("pk_message_attachments")),
    )
    op.create_index(
        op.f("ix_message_attachments_attachment_id"), "message_attachments", ["attachment_id"]
    )

    op.create_table(
        "search_documents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=True),
        sa.Column("owner", sa.String(length=32), nullable=False),
        sa.Column("begins", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column(
            "words", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql"), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.id"],
            name=op.f("fk_search_documents_message_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["sessions.id"],
            name=op.f("fk_search_documents_session_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_documents")),
    )
    op.create_index(op.f("ix_search_documents_message_id"), "search_documents", ["message_id"])
    op.create_index(op.f("ix_search_documents_session_id"), "search_documents", ["session_id"])
    if sqlite:
        op.execute(_INDEX)
        for name, body in _TRIGGERS.items():
            op.execute(f"CREATE TRIGGER {name} {body}")
    else:
        op.create_index(
            "ix_search_documents_words", "search_documents", ["words"], postgresql_using="gin"
        )
        # What it would count are the words of all users. From that it takes a common word to be
        # everywhere, and reads the whole table in place of the index: ten times slower.
        op.execute("ALTER TABLE search_documents ALTER COLUMN words SET STATISTICS 0")
    _find_what_was_said(op.get_bind())

    op.create_table(
        "kept_usage",
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("provider", sa.String(length=64), nullable=False),
        sa.Column("generations", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_kept_usage_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "day", "model", "provider", name=op.f("pk_kept_usage")),
    )


def _find_what_was_said(connection: sa.Connection) -> None:
    names = ("session_id", "message_id", "owner", "begins", "ends")
    documents = sa.table(
        "search_documents",
        *map(sa.column, names),
        sa.column("words", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql")),
    )
    last = ""
    while said := connection.execute(
        _SAID, {"last": last, "most": SEARCHED_CHARACTERS, "batch": _BATCH}
    ).all():
        rows = [
            {
                "session_id": message.session_id,
                "message_id": message.id,
                "owner": (owner := owner_of(message.user_id)),
                "begins": passage.begin,
                "ends": passage.end,
                "words": kept_words(connection.dialect, owner, passage.words),
            }
            for message in said
            for passage in passages(message.text)
        ]
        if rows:
            connection.execute(sa.insert(documents), rows)
        last = said[-1].id


def downgrade() -> None:
    op.drop_table("kept_usage")
    if op.get_bind().dialect.name == "sqlite":
        for name in _TRIGGERS:
            op.execute(f"DROP TRIGGER {name}")
        op.execute("DROP TABLE search_index")
    op.drop_table("search_documents")
    op.drop_table("message_attachments")
    op.drop_table("attachments")
    op.drop_index(op.f("ix_generations_session_id"), table_name="generations")
    op.drop_column("generations", "agent")
    op.drop_column("generations", "context")
    op.drop_index("ix_messages_system", table_name="messages")
    op.drop_index("ix_messages_session_id_depth_id", table_name="messages")
    op.create_index(op.f("ix_messages_session_id"), "messages", ["session_id"], unique=False)
    op.drop_index("uq_messages_stem_id_depth", table_name="messages")
    for name in ("rating", "helpful", "depth", "stem_id"):
        op.drop_column("messages", name)
    for name in ("purged_at", "closed_at", "last_activity"):
        op.drop_index(op.f(f"ix_sessions_{name}"), table_name="sessions")
    for name in (
        "client_version",
        "ip_address",
        "user_agent",
        "system_prompt",
        "stream_responses",
        "language",
        "model_preference",
        "project_id",
        "title_by",
        "title",
        "purged_at",
        "closed_at",
    ):
        op.drop_column("sessions", name)
