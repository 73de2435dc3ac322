"""Which runs of pipelines, and which of their steps, have no cost because they were simulated."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TABLES = ("executions", "execution_steps")


def upgrade() -> None:
    for table in _TABLES:
        op.add_column(
            table,
            sa.Column("is_simulated", sa.Boolean(), server_default=sa.false(), nullable=False),
        )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_column(table, "is_simulated")
