"""What the calls of prompts and presets came to, in all and by version, from sums by day.

Of prompts those of pipelines, of presets all that were made through them. Trials in the playground are
in the ledger, and not here: what was tried need be no version.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, TypeAlias

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.db.tables import PresetUse, PromptUse
from aieye.ledger.queries.holders import Use

Uses: TypeAlias = type[PromptUse] | type[PresetUse]
_OWNERS: Final[Mapping[Uses, InstrumentedAttribute[int]]] = {
    PromptUse: PromptUse.prompt_id,
    PresetUse: PresetUse.preset_id,
}


async def uses_of(
    session: AsyncSession, uses: Uses, ids: Collection[int], *, since: int
) -> Mapping[int, Use]:
    """The use of each prompt or preset from the day that begins at `since` (epoch seconds) on."""
    return await _uses(session, uses, owner_of(uses), ids, since)


async def uses_of_versions(
    session: AsyncSession, uses: Uses, id_: int, numbers: Collection[int], *, since: int
) -> Mapping[int, Use]:
    """The use of each version of one of them from the day that begins at `since` on."""
    return await _uses(session, uses, uses.number, numbers, since, id_=id_)


def owner_of(uses: Uses) -> InstrumentedAttribute[int]:
    """The column that says whose calls they were."""
    return _OWNERS[uses]


async def _uses(
    session: AsyncSession,
    uses: Uses,
    column: InstrumentedAttribute[int],
    values: Collection[int],
    since: int,
    *,
    id_: int | None = None,
) -> Mapping[int, Use]:
    if not values:
        return {}
    sums = (uses.calls, uses.unpriced, uses.cost_nano, uses.saved_nano)
    statement = (
        select(column, *(func.sum(one) for one in sums))
        .where(column.in_(values), uses.bucket >= since)
        .group_by(column)
    )
    if id_ is not None:
        statement = statement.where(owner_of(uses) == id_)
    return {
        value: Use(*(int(amount) for amount in amounts))
        for value, *amounts in await session.execute(statement)
    }
