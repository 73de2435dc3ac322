"""Providers' keys, as administrators change them: write-only, sealed for their row and address."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.access.cipher import Cipher, provider_key_place
from aieye.access.texts import check_label, check_provider_secret
from aieye.db.engine import bump_revision
from aieye.db.rows import get_living, keyset
from aieye.db.tables import Provider, ProviderKey
from aieye.db.types import now

# The last four characters of anything shorter would give away too much of it.
_SHORTEST_SHOWN = 12


async def list_keys(
    session: AsyncSession,
    *,
    provider_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[ProviderKey]:
    """Keys in the order of their making, from behind the id `after`; of one provider if given."""
    statement = select(ProviderKey).where(ProviderKey.deleted_at.is_(None))
    if provider_id is not None:
        statement = statement.where(ProviderKey.provider_id == provider_id)
    statement = keyset(statement, ProviderKey.id, after=after, limit=limit)
    return (await session.scalars(statement)).all()


async def get_key(session: AsyncSession, key_id: int) -> ProviderKey:
    """The key, its secret sealed. Raises `NotFound`."""
    return await get_living(session, ProviderKey, key_id)


async def add_key(
    session: AsyncSession,
    cipher: Cipher,
    *,
    provider_id: int,
    name: str,
    secret: str,
    actor: Actor,
) -> ProviderKey:
    """Store a key for a provider. Raises `NotFound`, `Unprocessable`."""
    provider = await get_living(session, Provider, provider_id)
    check_provider_secret(secret)
    key = ProviderKey(
        provider_id=provider.id, name=check_label(name, longest=100), last4="", is_active=True
    )
    session.add(key)
    # The row's id is part of what the secret is sealed for.
    await session.flush()
    _seal(cipher, key, provider, secret)
    record(session, actor, "key.create", "key", key.id, provider=provider.name, name=key.name)
    await bump_revision(session)
    return key


async def replace_key(
    session: AsyncSession, cipher: Cipher, *, key_id: int, secret: str, actor: Actor
) -> ProviderKey:
    """Give a key another secret; tokens and routes that name it stay. Raises as `add_key` does."""
    key = await get_key(session, key_id)
    provider = await get_living(session, Provider, key.provider_id)
    _seal(cipher, key, provider, check_provider_secret(secret))
    record(session, actor, "key.replace", "key", key.id, provider=provider.name, last4=key.last4)
    await bump_revision(session)
    return key


async def update_key(
    session: AsyncSession,
    *,
    key_id: int,
    name: str | None = None,
    is_active: bool | None = None,
    actor: Actor,
) -> ProviderKey:
    """Rename a key, switch it on or off; None leaves it so. Raises `NotFound`, `Unprocessable`."""
    key = await get_key(session, key_id)
    if name is not None:
        key.name = check_label(name, longest=100)
    if is_active is not None:
        key.is_active = is_active
    record(session, actor, "key.update", "key", key.id, name=key.name, is_active=key.is_active)
    await bump_revision(session)
    return key


async def delete_key(session: AsyncSession, *, key_id: int, actor: Actor) -> None:
    """Remove a key and wipe its secret. Raises `NotFound`.

    Tokens pinned to it then reach nothing: falling back to another key would widen what they may.
    """
    key = await get_key(session, key_id)
    wipe(key)
    record(session, actor, "key.delete", "key", key.id, name=key.name)
    await bump_revision(session)


def wipe(key: ProviderKey) -> None:
    """Delete the row's secret for good and hide the row, which the ledger still speaks of."""
    key.sealed = None
    key.is_active = False
    key.deleted_at = now()


def _seal(cipher: Cipher, key: ProviderKey, provider: Provider, secret: str) -> None:
    key.sealed = cipher.seal(secret, place=provider_key_place(key.id, provider.base_url))
    key.last4 = secret[-4:] if len(secret) >= _SHORTEST_SHOWN else ""
