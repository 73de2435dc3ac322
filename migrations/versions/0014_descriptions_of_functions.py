"""What an administrator says of a function, beside its docstring."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("functions", sa.Column("description", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("functions", "description")
