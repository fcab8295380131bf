"""cost and hidden sessions"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("generations", sa.Column("cost", sa.Double(), nullable=True))
    op.add_column(
        "sessions", sa.Column("hidden", sa.Boolean(), server_default=sa.false(), nullable=False)
    )


def downgrade() -> None:
    op.drop_column("sessions", "hidden")
    op.drop_column("generations", "cost")
