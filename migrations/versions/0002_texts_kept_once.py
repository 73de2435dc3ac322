"""A cache entry may give what the ledger keeps, instead of keeping it a second time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEPT = sa.text("body_id IS NOT NULL")


def upgrade() -> None:
    op.add_column("cache_entries", sa.Column("body_id", sa.String(length=32), nullable=True))
    op.create_index(
        "ix_cache_entries_body_id",
        "cache_entries",
        ["body_id"],
        sqlite_where=_KEPT,
        postgresql_where=_KEPT,
    )


def downgrade() -> None:
    # What lies with the ledger is out of reach for the older version: it asks the provider anew.
    op.execute("DELETE FROM cache_entries WHERE body_id IS NOT NULL")
    op.drop_index("ix_cache_entries_body_id", table_name="cache_entries")
    op.drop_column("cache_entries", "body_id")
