"""What prompts and presets were called for lately, as their lists and versions tell it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.types import now, to_micros
from aieye.ledger.queries.holders import Use
from aieye.ledger.queries.uses import Uses, uses_of, uses_of_versions
from aieye.ledger.rollups import DAY, bucket_of
from aieye.ui.session import Visitor
from aieye.ui.versions import Row

# Calls of them are summed by day.
DAYS: Final = 30
COLUMNS: Final = (f"Calls, {DAYS} d", f"Cost, {DAYS} d")


async def lately(session: AsyncSession, uses: Uses, ids: Collection[int]) -> Mapping[int, Use]:
    """What each of them was called for."""
    return await uses_of(session, uses, ids, since=_since())


async def lately_by_version(
    session: AsyncSession, visitor: Visitor, uses: Uses, row: Row, numbers: Sequence[int]
) -> Mapping[int, Use]:
    """What each version of `row` was called for, of those that were."""
    # Of what is shared, what others had of it is for its owner and administrators.
    counted = numbers if visitor.actor.may_see(row.user_id) else ()
    return await uses_of_versions(session, uses, row.id, counted, since=_since())


def _since() -> int:
    """The start of the days that are counted, in epoch seconds."""
    today = to_micros(now()) // 1_000_000
    return bucket_of(today - (DAYS - 1) * DAY, DAY)
