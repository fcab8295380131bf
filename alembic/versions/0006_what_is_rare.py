"""what is rare: indexes of names, keys and ends hold the rows that have one, and no others"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: Each question would write to all of them that it has none: in SQLite a page each.
_RARE = (
    ("uq_sessions_user_id_name", "sessions", ["user_id", "name"]),
    ("ix_sessions_closed_at", "sessions", ["closed_at"]),
    ("ix_sessions_purged_at", "sessions", ["purged_at"]),
    ("uq_generations_user_id_ask_key", "generations", ["user_id", "ask_key"]),
)


def upgrade() -> None:
    for name, table, columns in _RARE:
        there = sa.text(f"{columns[-1]} IS NOT NULL")
        op.drop_index(name, table_name=table)
        op.create_index(
            name,
            table,
            columns,
            unique=name.startswith("uq_"),
            sqlite_where=there,
            postgresql_where=there,
        )


def downgrade() -> None:
    for name, table, columns in _RARE:
        op.drop_index(name, table_name=table)
        op.create_index(name, table, columns, unique=name.startswith("uq_"))
