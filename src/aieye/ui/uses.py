"""What holders of something were used for in a time: tokens, users and providers, all at once."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.ledger.periods import cut
from aieye.ledger.queries import UsageFilters
from aieye.ledger.queries.period_sums import Question, Share
from aieye.ledger.rollups import cover
from aieye.ui.ranges import Range
from aieye.ui.session import Visitor


async def find_uses(session: AsyncSession, visitor: Visitor, period: Range) -> Share:
    """The visitor's own calls in the period, for administrators those of all."""
    moment = int(visitor.now.timestamp())
    ends = [int(end.timestamp()) for end in (period.since, period.until)]
    question = Question(session, visitor.state.periods, UsageFilters(), visitor.owner_id, moment)
    this = cut(ends[0], ends[1], now=moment)
    return await question.share(cover(this.since, this.until))
