"""The ledger's texts are found by their ids, which sort by time: no index by their age is kept."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_call_bodies_created_at", table_name="call_bodies")


def downgrade() -> None:
    op.create_index("ix_call_bodies_created_at", "call_bodies", ["created_at"])
