"""What stops working when a key or a provider goes: the tokens and aliases that name it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Route, Token


@dataclass(frozen=True, slots=True)
class Dependants:
    """By name: tokens that are pinned to a key, aliases that send to it or to its provider."""

    tokens: Sequence[str]
    aliases: Sequence[str]


async def dependants_of_keys(session: AsyncSession, key_ids: Collection[int]) -> Dependants:
    """What names one of the keys."""
    tokens = await session.scalars(
        select(Token.name)
        .where(Token.provider_key_id.in_(key_ids), Token.deleted_at.is_(None))
        .order_by(Token.id)
    )
    aliases = [
        route.alias
        for route in await session.scalars(select(Route).order_by(Route.id))
        if any(target.get("key_id") in key_ids for target in route.targets)
    ]
    return Dependants(tokens.all(), aliases)


async def aliases_of_provider(session: AsyncSession, name: str) -> Sequence[str]:
    """The aliases that send to the provider: they have to be changed before it can go."""
    return [
        route.alias
        for route in await session.scalars(select(Route).order_by(Route.id))
        if any(target["provider"] == name for target in route.targets)
    ]
