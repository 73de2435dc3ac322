"""Which provider serves models that name none, and what people are told when that changes.

It is the one that an administrator marked, until then `openai`, else the first made. A provider that
holds no key is passed over: it was added and is not set up yet. One whose keys are switched off or do
not open keeps its place and refuses, since what was meant for it must not go elsewhere unasked.
"""

from __future__ import annotations

from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.snapshot import OPENAI_PROVIDER
from aieye.db.tables import Provider, ProviderKey

_HOLDS_KEY = exists().where(
    ProviderKey.provider_id == Provider.id,
    ProviderKey.deleted_at.is_(None),
    ProviderKey.sealed.is_not(None),
)


async def find_default(session: AsyncSession) -> Provider | None:
    """The effective default; where no provider holds a key, the one that would be it with one."""
    return await session.scalar(
        select(Provider)
        .where(Provider.deleted_at.is_(None))
        .order_by(
            _HOLDS_KEY.desc(),
            Provider.is_default.desc(),
            (Provider.name == OPENAI_PROVIDER).desc(),
            Provider.id,
        )
        .limit(1)
    )


async def find_serving(session: AsyncSession) -> str | None:
    """The default's name; None where no provider holds a key and the simulated one serves."""
    found = await find_default(session)
    if found is None:
        return None
    holds_key = select(Provider.id).where(Provider.id == found.id, _HOLDS_KEY)
    return None if await session.scalar(holds_key) is None else found.name


def change_of_default(before: str | None, after: str | None) -> str | None:
    """What to tell when `find_serving` gave these before and after an act; None for no change."""
    if before == after:
        return None
    if after is None:
        return "No provider holds a key any more."
    if before is None:
        return f"Models that name no provider now go to {after}; the simulated provider answers no more."
    return f"Models that name no provider now go to {after}, no longer to {before}."
