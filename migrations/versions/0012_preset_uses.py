"""What the versions of presets asked and cost, by day.

The ledger knows of earlier calls which preset asked, not which version: they count for the newest.
"""

import json
from collections import defaultdict

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_SUMS = ("calls", "unpriced", "cost_nano", "saved_nano")
_CALLS = """
SELECT tags, created_at / 86400000000 * 86400 AS day, count(*),
       sum(CASE WHEN cost_nano IS NULL THEN 1 ELSE 0 END),
       sum(coalesce(cost_nano, 0)), sum(coalesce(saved_nano, 0))
FROM calls WHERE state = 'done' AND tags LIKE '%"preset":"%' GROUP BY tags, day
"""


def upgrade() -> None:
    table = op.create_table(
        "preset_uses",
        sa.Column("preset_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bucket", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("unpriced", sa.BigInteger(), nullable=False),
        sa.Column("cost_nano", sa.BigInteger(), nullable=False),
        sa.Column("saved_nano", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("preset_id", "number", "bucket", name=op.f("pk_preset_uses")),
        sqlite_with_rowid=False,
    )
    rows = _uses_until_now(op.get_bind())
    if rows:
        op.bulk_insert(table, rows)


def _uses_until_now(connection: sa.Connection) -> list[dict[str, int]]:
    found = connection.execute(
        sa.text("SELECT uid, id, version FROM presets WHERE deleted_at IS NULL")
    )
    presets = {uid: (id_, version) for uid, id_, version in found}
    sums: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0] * len(_SUMS))
    # Few presets have many calls: they are added up before they are read.
    for tags, day, *amounts in connection.execute(sa.text(_CALLS)) if presets else ():
        preset = presets.get(json.loads(tags).get("preset"))
        if preset is not None:
            kept = sums[*preset, day]
            for i, amount in enumerate(amounts):
                kept[i] += int(amount)
    names = ("preset_id", "number", "bucket", *_SUMS)
    return [dict(zip(names, (*place, *amounts), strict=True)) for place, amounts in sums.items()]


def downgrade() -> None:
    op.drop_table("preset_uses")
