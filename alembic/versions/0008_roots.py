"""roots: the index of what a message answers holds none of those that answer nothing"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_NAME = "ix_messages_parent_id"


def upgrade() -> None:
    # All roots stood together in it, in its middle: each new one wrote to pages there, and split
    # them, beside those at the end where its answer goes.
    there = sa.text("parent_id IS NOT NULL")
    op.drop_index(_NAME, table_name="messages")
    op.create_index(_NAME, "messages", ["parent_id"], sqlite_where=there, postgresql_where=there)


def downgrade() -> None:
    op.drop_index(_NAME, table_name="messages")
    op.create_index(_NAME, "messages", ["parent_id"])
