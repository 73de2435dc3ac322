"""What the calls of pipelines came to by prompt and by version, from sums by day.

Trials in the playground are in the ledger, and not here: what was tried need be no version.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.db.tables import PromptUse
from aieye.ledger.queries.holders import Use

_SUMS = (PromptUse.calls, PromptUse.unpriced, PromptUse.cost_nano, PromptUse.saved_nano)


async def uses_of_prompts(
    session: AsyncSession, prompt_ids: Collection[int], *, since: int
) -> Mapping[int, Use]:
    """The use of each prompt from the day that begins at `since` (epoch seconds) on."""
    return await _uses(session, PromptUse.prompt_id, prompt_ids, since)


async def uses_of_versions(
    session: AsyncSession, prompt_id: int, numbers: Collection[int], *, since: int
) -> Mapping[int, Use]:
    """The use of each version of a prompt from the day that begins at `since` on."""
    return await _uses(session, PromptUse.number, numbers, since, prompt_id=prompt_id)


async def _uses(
    session: AsyncSession,
    column: InstrumentedAttribute[int],
    values: Collection[int],
    since: int,
    *,
    prompt_id: int | None = None,
) -> Mapping[int, Use]:
    if not values:
        return {}
    statement = (
        select(column, *(func.sum(one) for one in _SUMS))
        .where(column.in_(values), PromptUse.bucket >= since)
        .group_by(column)
    )
    if prompt_id is not None:
        statement = statement.where(PromptUse.prompt_id == prompt_id)
    return {
        value: Use(*(int(amount) for amount in amounts))
        for value, *amounts in await session.execute(statement)
    }
