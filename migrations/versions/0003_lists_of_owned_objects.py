"""A user's objects of a kind are found without looking at everybody's."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_owned_objects_user_id_kind",
        "owned_objects",
        ["user_id", "kind", "provider_id", "key_id"],
    )


def downgrade() -> None:
    op.drop_index("ix_owned_objects_user_id_kind", table_name="owned_objects")
