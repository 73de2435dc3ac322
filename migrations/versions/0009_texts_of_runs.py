"""Which runs of pipelines still hold texts, found by their age."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "executions",
        sa.Column("has_texts", sa.Boolean(), server_default=sa.true(), nullable=False),
    )
    op.create_index(
        "ix_executions_texts",
        "executions",
        ["started_at"],
        sqlite_where=sa.text("has_texts = 1"),
        postgresql_where=sa.text("has_texts"),
    )


def downgrade() -> None:
    op.drop_index("ix_executions_texts", table_name="executions")
    op.drop_column("executions", "has_texts")
