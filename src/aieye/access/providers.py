"""Providers, as administrators change them; the gateway reads them from the directory."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.addresses import normal_base_url
from aieye.access.audit import Actor, record
from aieye.access.cipher import Cipher
from aieye.access.defaults import find_default
from aieye.access.provider_keys import (
    add_key,
    delete_key,
    get_key,
    list_keys,
    replace_key,
    update_key,
    wipe,
)
from aieye.access.rotation import rotate_secrets
from aieye.access.snapshot import DEMO_PROVIDER
from aieye.access.texts import check_name, is_name
from aieye.db.engine import bump_revision
from aieye.db.rows import get_living, insert_unique, keyset
from aieye.db.tables import Provider, Route
from aieye.db.types import now
from aieye.errors import Conflict, Unprocessable

__all__ = [
    "KeyRequired",
    "ProviderInUse",
    "add_key",
    "change_base_url",
    "check_base_url",
    "check_provider_name",
    "create_provider",
    "delete_key",
    "delete_provider",
    "find_default",
    "find_provider",
    "get_key",
    "get_provider",
    "list_keys",
    "list_providers",
    "mark_default",
    "name_taken",
    "replace_key",
    "require_provider",
    "rotate_secrets",
    "update_key",
]

LONGEST_BASE_URL = 500
_MOST_NAMED = 20


class KeyRequired(Unprocessable):
    """Another address asks for the key again: the stored one is never sent there."""

    code = "key_required"


class ProviderInUse(Conflict):
    """A route still sends to the provider."""

    code = "provider_in_use"


async def list_providers(
    session: AsyncSession, *, after: int | None = None, limit: int | None = None
) -> Sequence[Provider]:
    """Providers in the order of their making, from behind the id `after`."""
    living = select(Provider).where(Provider.deleted_at.is_(None))
    return (await session.scalars(keyset(living, Provider.id, after=after, limit=limit))).all()


async def get_provider(session: AsyncSession, provider_id: int) -> Provider:
    """The provider. Raises `NotFound`."""
    return await get_living(session, Provider, provider_id)


async def find_provider(session: AsyncSession, name: str) -> Provider | None:
    """The provider of this name, which may be any text."""
    if not is_name(name):
        return None
    living = select(Provider).where(Provider.deleted_at.is_(None))
    return await session.scalar(living.where(Provider.name == name))


async def require_provider(session: AsyncSession, name: str, *, param: str) -> Provider:
    """The provider that a field names. Raises `Unprocessable`, with the names that there are."""
    found = await find_provider(session, name)
    if found is None:
        names = [one.name for one in await list_providers(session, limit=_MOST_NAMED)]
        known = f"Those there are: {', '.join(names)}." if names else "There is none yet."
        raise Unprocessable(f"There is no provider {name[:100]!r}. {known}", param=param)
    return found


async def create_provider(
    session: AsyncSession, *, name: str, base_url: str, actor: Actor
) -> Provider:
    """Add a provider, without a key yet. Raises `Conflict`, `InvalidRequest`, `Unprocessable`."""
    provider = Provider(
        name=check_provider_name(name), base_url=check_base_url(base_url), is_default=False
    )
    await insert_unique(session, provider, clash=name_taken(name), param="name")
    record(
        session, actor, "provider.create", "provider", provider.id,
        name=name, base_url=provider.base_url,
    )  # fmt: skip
    await bump_revision(session)
    return provider


async def change_base_url(
    session: AsyncSession,
    cipher: Cipher,
    *,
    provider_id: int,
    base_url: str,
    secret: str | None = None,
    actor: Actor,
) -> Provider:
    """Send the provider's calls elsewhere; all its keys are wiped and `secret` is the new one.

    Raises `KeyRequired` when there are keys and no `secret`, `InvalidRequest`, `NotFound`.
    """
    provider = await get_provider(session, provider_id)
    old, new = provider.base_url, check_base_url(base_url)
    if new == old and secret is None:
        return provider
    keys = await list_keys(session, provider_id=provider.id)
    if keys and secret is None:
        raise KeyRequired("Another base URL asks for the provider's key again.", param="key")
    for key in keys:
        wipe(key)
    provider.base_url = new
    record(
        session, actor, "provider.base_url", "provider", provider.id,
        name=provider.name, old=old, new=new, wiped_keys=[key.id for key in keys],
    )  # fmt: skip
    await bump_revision(session)
    if secret is not None:
        name = keys[0].name if keys else "default"
        await add_key(
            session, cipher, provider_id=provider.id, name=name, secret=secret, actor=actor
        )
    return provider


async def mark_default(session: AsyncSession, *, provider_id: int, actor: Actor) -> Provider:
    """Make it the provider of models that no route and no `provider/` names. Raises `NotFound`."""
    # The revision's row lets one change through at a time, so that two marks never both stay.
    await bump_revision(session)
    provider = await get_provider(session, provider_id)
    await session.execute(
        update(Provider)
        .where(Provider.is_default, Provider.id != provider.id)
        .values(is_default=False)
    )
    provider.is_default = True
    record(session, actor, "provider.default", "provider", provider.id, name=provider.name)
    return provider


async def delete_provider(session: AsyncSession, *, provider_id: int, actor: Actor) -> None:
    """Remove a provider and wipe its keys. Raises `NotFound`, `ProviderInUse`."""
    # As in `mark_default`: no route to it is made while it goes.
    await bump_revision(session)
    provider = await get_provider(session, provider_id)
    for route in await session.scalars(select(Route)):
        if any(target["provider"] == provider.name for target in route.targets):
            raise ProviderInUse(
                f"The alias {route.alias} sends to {provider.name}: take it out there first, on the page "
                "/routes or by /api/v1/routes."
            )
    for key in await list_keys(session, provider_id=provider.id):
        wipe(key)
    provider.deleted_at = now()
    provider.is_default = False
    record(session, actor, "provider.delete", "provider", provider.id, name=provider.name)


def check_provider_name(name: str) -> str:
    """The name, which a provider may have. Raises `Conflict`, `Unprocessable`."""
    if check_name(name) == DEMO_PROVIDER:
        raise Conflict("The name demo is kept for the simulated provider.", param="name")
    return name


def name_taken(name: str) -> str:
    """What whoever adds a provider is told of a name that another has."""
    return f"A provider named {name} exists already."


def check_base_url(text: str) -> str:
    """The base URL in its one form. Raises `InvalidRequest`, `Unprocessable`."""
    base_url = normal_base_url(text)
    if len(base_url) > LONGEST_BASE_URL:
        raise Unprocessable("The base URL is too long.", param="base_url")
    return base_url
