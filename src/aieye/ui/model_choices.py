"""The models that a form offers: those known by their use, and the aliases. Any other may be typed."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import UsageDimension
from aieye.ui.session import Visitor

_MOST = 100
# For whoever called nothing yet.
_USUAL = ("gpt-4o-mini", "gpt-4o")


async def called_models(session: AsyncSession, visitor: Visitor) -> Sequence[str]:
    """The models that answered the visitor's calls, of administrators everybody's, by name."""
    models = select(UsageDimension.model).where(UsageDimension.model != "").distinct()
    if visitor.owner_id is not None:
        models = models.where(UsageDimension.user_id == visitor.owner_id)
    return (await session.scalars(models.order_by(UsageDimension.model).limit(_MOST))).all()


async def offered_models(session: AsyncSession, visitor: Visitor) -> Sequence[str]:
    """What a field for a model suggests."""
    called = await called_models(session, visitor)
    aliases = sorted(visitor.state.directory.current.routes)
    return list(dict.fromkeys([*aliases, *called, *_USUAL]))[:_MOST]
