"""asking twice and aborting"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generations", sa.Column("ask_key", sa.String(length=255), nullable=True))
    op.add_column("generations", sa.Column("ask_fingerprint", sa.String(length=64), nullable=True))
    op.add_column(
        "generations", sa.Column("abort_requested_at", sa.DateTime(timezone=True), nullable=True)
    )
    op.create_index(
        "uq_generations_user_id_ask_key", "generations", ["user_id", "ask_key"], unique=True
    )


def downgrade() -> None:
    op.drop_index("uq_generations_user_id_ask_key", table_name="generations")
    op.drop_column("generations", "abort_requested_at")
    op.drop_column("generations", "ask_fingerprint")
    op.drop_column("generations", "ask_key")
