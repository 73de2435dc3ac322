"""What the ledger holds, and what its roll-ups should say: computed anew from the rows."""

from __future__ import annotations

import sqlite3
from collections import Counter
from typing import TypeAlias

from aieye.ledger.rollups import GRAINS, latency_bin
from tests.installation import Installation, Row

Sums: TypeAlias = dict[tuple[int | str, ...], tuple[int, ...]]

_CALLS = """
SELECT created_at, coalesce(token_id, 0), coalesce(user_id, 0), coalesce(provider_id, 0), endpoint,
       coalesce(model, ''), coalesce(pipeline, ''), coalesce(status, 0), cache, cost_nano,
       tokens_input, tokens_cached, tokens_output, tokens_reasoning, saved_nano, latency_us
FROM calls WHERE state <> 'open'
"""
_ROLLUPS = """
SELECT r.grain, r.bucket, d.token_id, d.user_id, d.provider_id, d.endpoint, d.model, d.pipeline,
       d.status, d.cache, r.calls, r.unpriced, r.tokens_input, r.tokens_cached, r.tokens_output,
       r.tokens_reasoning, r.cost_nano, r.saved_nano, r.latency_us
FROM usage_rollups r JOIN usage_dimensions d ON d.id = r.dimension_id
WHERE r.calls <> 0
"""
_LATENCIES = """
SELECT l.grain, l.bucket, d.token_id, d.user_id, d.provider_id, d.endpoint, d.model, d.pipeline,
       d.status, d.cache, l.bin, l.calls
FROM latency_rollups l JOIN usage_dimensions d ON d.id = l.dimension_id
WHERE l.calls <> 0
"""
_DIMENSIONS = slice(1, 9)


def states(installation: Installation) -> Counter[str]:
    """How many calls there are in each state."""
    return Counter(dict(_pairs(installation.query("SELECT state, count(*) FROM calls GROUP BY 1"))))


def assert_recorded(installation: Installation, ids: set[str]) -> None:
    """Each of these calls has its final row, and only one."""
    rows = installation.query("SELECT id, state, status FROM calls")
    assert len({id_ for id_, _, _ in rows}) == len(rows)
    final = {id_ for id_, state, status in rows if state == "done" and status == 200}
    missing = ids - final
    assert missing == set(), f"{len(missing)} of {len(ids)} calls that were seen finished"


def assert_sums_agree(installation: Installation) -> None:
    """The roll-ups are what the rows add up to (I7)."""
    usage: dict[tuple[int | str, ...], list[int]] = {}
    bins: Counter[tuple[int | str, ...]] = Counter()
    for row in installation.query(_CALLS):
        amounts = _amounts(row)
        for grain in GRAINS:
            place = (grain, row[0] // 1_000_000 // grain * grain, *row[_DIMENSIONS])
            sums = usage.setdefault(place, [0] * len(amounts))
            for index, amount in enumerate(amounts):
                sums[index] += amount
            if row[15] is not None:
                bins[(*place, latency_bin(row[15]))] += 1
    stored = {row[:10]: row[10:] for row in installation.query(_ROLLUPS)}
    expected = {place: tuple(sums) for place, sums in usage.items()}
    places = stored.keys() | expected.keys()
    wrong = [(one, stored.get(one), expected.get(one)) for one in places]
    wrong = [(one, kept, right) for one, kept, right in wrong if kept != right]
    assert wrong == [], f"{len(wrong)} of {len(places)} sums; the first is {wrong[0]}"
    counted = {row[:11]: row[11] for row in installation.query(_LATENCIES)}
    assert counted == dict(bins)


def assert_intact(installation: Installation) -> None:
    """SQLite itself finds nothing wrong with the file."""
    if not installation.is_sqlite:
        return
    connection = sqlite3.connect(f"file:{installation.file}?mode=ro", uri=True)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()


def _amounts(row: Row) -> tuple[int, ...]:
    cost, *tokens, saved, latency = row[9:16]
    return (
        1,
        int(cost is None),
        *(amount or 0 for amount in tokens),
        cost or 0,
        saved or 0,
        latency or 0,
    )


def _pairs(rows: list[Row]) -> list[tuple[str, int]]:
    return [(str(name), int(number)) for name, number in rows]
