"""A token's former secret works on for a while, and links invite users who are there already."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("former_digest", sa.String(64)))
    op.add_column("tokens", sa.Column("former_prefix", sa.String(24)))
    op.add_column("tokens", sa.Column("former_until", sa.BigInteger()))
    op.add_column("setup_links", sa.Column("user_id", sa.Integer()))


def downgrade() -> None:
    op.drop_column("setup_links", "user_id")
    op.drop_column("tokens", "former_until")
    op.drop_column("tokens", "former_prefix")
    op.drop_column("tokens", "former_digest")
