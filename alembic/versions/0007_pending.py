"""pending: what was said is indexed for the search soon after, and marked till then"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from runnel.chat.sessions.passages import SEARCHED_CHARACTERS, passages
from runnel.store.search_syntax import kept_words, owner_of

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NEXT = sa.text(
    """
    SELECT pending.id, pending.session_id, pending.message_id, pending.user_id,
        substr(CASE WHEN pending.message_id IS NULL THEN sessions.title ELSE messages.content END,
            1, :most) AS text
    FROM search_pending AS pending
    JOIN sessions ON sessions.id = pending.session_id AND NOT sessions.hidden
    LEFT JOIN messages ON messages.id = pending.message_id
    WHERE pending.id > :last
        AND (pending.message_id IS NULL OR messages.id IS NOT NULL)
    ORDER BY pending.id LIMIT :batch
    """
)
_FORGET_TITLE = sa.text(
    "DELETE FROM search_documents WHERE session_id = :session_id AND message_id IS NULL"
)
_BATCH = 50


def upgrade() -> None:
    op.create_table(
        "search_pending",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("session_id", sa.String(length=36), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=True),
        sa.Column("characters", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_pending")),
    )


def downgrade() -> None:
    _find_what_pends(op.get_bind())
    op.drop_table("search_pending")


def _find_what_pends(connection: sa.Connection) -> None:
    """The version before looks for nothing that pends."""
    names = ("session_id", "message_id", "owner", "begins", "ends")
    documents = sa.table(
        "search_documents",
        *map(sa.column, names),
        sa.column("words", sa.Text().with_variant(postgresql.TSVECTOR(), "postgresql")),
    )
    last = 0
    while pending := connection.execute(
        _NEXT, {"last": last, "most": SEARCHED_CHARACTERS, "batch": _BATCH}
    ).all():
        for each in pending:
            if each.message_id is None:
                connection.execute(_FORGET_TITLE, {"session_id": each.session_id})
            owner = owner_of(each.user_id)
            rows = [
                {
                    "session_id": each.session_id,
                    "message_id": each.message_id,
                    "owner": owner,
                    "begins": passage.begin,
                    "ends": passage.end,
                    "words": kept_words(connection.dialect, owner, passage.words),
                }
                for passage in passages(each.text or "")
            ]
            if rows:
                connection.execute(sa.insert(documents), rows)
        last = pending[-1].id
