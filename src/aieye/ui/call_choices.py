"""What the filters of calls can be chosen from, by name, and what those that hold are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.access.snapshot import DEMO_ID, DEMO_PROVIDER
from aieye.db.tables import Provider, ProviderKey, Token, UsageDimension, User
from aieye.ledger.queries import CallFilters
from aieye.ui.key_names import WITH_PROVIDER
from aieye.ui.session import Visitor

MOST = 100
Names = dict[int, str]

_TOKENS = select(Token.id, Token.name)
_USERS = select(User.id, User.email)
_PROVIDERS = select(Provider.id, Provider.name)
_KEYS = select(ProviderKey.id, WITH_PROVIDER).join(Provider, Provider.id == ProviderKey.provider_id)


@dataclass(frozen=True, slots=True)
class Choices:
    """Models by name; tokens, users, providers and keys by id, with what they are called."""

    models: Sequence[str]
    ids: Mapping[str, Names]


async def find_choices(session: AsyncSession, visitor: Visitor, filters: CallFilters) -> Choices:
    """The newest of each that the visitor may know of, and those that the filters name already."""
    owner_id = visitor.owner_id
    is_demo = visitor.state.directory.is_demo
    models = select(UsageDimension.model).where(UsageDimension.model != "").distinct()
    tokens = _TOKENS
    if owner_id is not None:
        models = models.where(UsageDimension.user_id == owner_id)
        tokens = tokens.where(Token.user_id == owner_id)
    ids = {
        "token": await _newest(session, tokens, Token.id),
        "provider": await _newest(session, _PROVIDERS, Provider.id),
    }
    if owner_id is None:
        ids["user"] = await _newest(session, _USERS, User.id)
        ids["key"] = await _newest(session, _KEYS, ProviderKey.id)
        for kind, names in (await find_names(session, visitor, filters)).items():
            ids[kind] |= names
    if is_demo:
        ids["provider"][DEMO_ID] = DEMO_PROVIDER
    found = await session.scalars(models.order_by(UsageDimension.model).limit(MOST))
    return Choices(found.all(), ids)


async def find_names(
    session: AsyncSession, visitor: Visitor, filters: CallFilters
) -> Mapping[str, Names]:
    """What those are called that the filters name by their ids, and that the visitor may know of."""
    if visitor.owner_id is not None:
        own = _TOKENS.where(Token.user_id == visitor.owner_id, Token.id == filters.token_id)
        return {"token": {row[0]: row[1] for row in await session.execute(own)}}
    asked: tuple[tuple[str, Select[int, str], InstrumentedAttribute[int], int | None], ...] = (
        ("token", _TOKENS, Token.id, filters.token_id),
        ("user", _USERS, User.id, filters.user_id),
        ("provider", _PROVIDERS, Provider.id, filters.provider_id),
        ("key", _KEYS, ProviderKey.id, filters.key_id),
    )
    names = {
        kind: {row[0]: row[1] for row in await session.execute(statement.where(key == value))}
        for kind, statement, key, value in asked
        if value is not None
    }
    if visitor.state.directory.is_demo and filters.provider_id == DEMO_ID:
        names["provider"] = {DEMO_ID: DEMO_PROVIDER}
    return names


async def find_provider(session: AsyncSession, visitor: Visitor, name: str) -> int | None:
    """The id of the provider of this name: of the one that is there, else of the newest deleted."""
    if visitor.state.directory.is_demo and name == DEMO_PROVIDER:
        return DEMO_ID
    statement = select(Provider.id).where(Provider.name == name)
    newest = statement.order_by(Provider.deleted_at.is_not(None), Provider.id.desc())
    return (await session.scalars(newest.limit(1))).first()


def named(names: Mapping[str, Names], parameter: str, value: str) -> str:
    """What the value of a filter is called."""
    if parameter not in names or not value.isdigit():
        return value
    return names[parameter].get(int(value), value)


async def _newest(
    session: AsyncSession, statement: Select[int, str], key: InstrumentedAttribute[int]
) -> Names:
    rows = await session.execute(statement.order_by(key.desc()).limit(MOST))
    return {row[0]: row[1] for row in rows}
