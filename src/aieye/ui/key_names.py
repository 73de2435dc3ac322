"""What providers' keys are called on pages: several of one provider may have the same name."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import ColumnElement, String, case, cast, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Provider, ProviderKey

# How the secret ends; of one too short to show its end, the key's number.
MASKED: Final[ColumnElement[str]] = case(
    (ProviderKey.last4 != "", literal("••••") + ProviderKey.last4),
    else_=literal("no. ") + cast(ProviderKey.id, String),
)
KEY_NAME: Final[ColumnElement[str]] = ProviderKey.name + literal(" ") + MASKED
WITH_PROVIDER: Final[ColumnElement[str]] = Provider.name + literal(" · ") + KEY_NAME


def masked(key: ProviderKey) -> str:
    """How its secret ends; its number where that is too short to show its end."""
    return f"••••{key.last4}" if key.last4 else f"no. {key.id}"


async def key_names(session: AsyncSession, ids: Collection[int]) -> Mapping[int, str]:
    """What the keys of these ids are called, those that were deleted too."""
    if not ids:
        return {}
    rows = await session.execute(select(ProviderKey.id, KEY_NAME).where(ProviderKey.id.in_(ids)))
    return {row[0]: row[1] for row in rows}
