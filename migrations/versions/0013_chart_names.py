"""What charts have shown, in that order: each name has one colour."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chart_names",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chart_names")),
        sa.UniqueConstraint("kind", "value", name=op.f("uq_chart_names_kind_value")),
    )


def downgrade() -> None:
    op.drop_table("chart_names")
