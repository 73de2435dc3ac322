"""The provider that `OPENAI_API_KEY` and `OPENAI_BASE_URL` configure, kept in step at each start.

The key is stored sealed under the name `environment`. The same key is never added twice, another
one takes its place, and another base URL moves the provider with the key that came with it. The
configuration file's provider (`aieye.access.config_file`) is kept in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.addresses import normal_base_url
from aieye.access.audit import SYSTEM
from aieye.access.cipher import Cipher, SealError, provider_key_place
from aieye.access.defaults import change_of_default, find_serving
from aieye.access.providers import (
    add_key,
    change_base_url,
    create_provider,
    find_provider,
    list_keys,
    replace_key,
    update_key,
)
from aieye.access.snapshot import OPENAI_PROVIDER
from aieye.access.texts import check_provider_secret
from aieye.db.tables import Provider, ProviderKey
from aieye.errors import AieyeError
from aieye.program import program
from aieye.settings import Settings, SettingsError

OPENAI_BASE_URL = "https://api.openai.com/v1"


@dataclass(frozen=True, slots=True)
class Source:
    """Whose key it is: the provider's name and the key's, and what people are told of where the key
    and the address are from."""

    provider: str
    key_name: str
    of_key: str
    of_address: str


_ENVIRONMENT = Source(OPENAI_PROVIDER, "environment", "OPENAI_API_KEY", "OPENAI_BASE_URL")


async def keep_environment_provider(
    session: AsyncSession, cipher: Cipher, settings: Settings
) -> tuple[str, ...]:
    """Make the provider `openai` what the environment says; gives what the operator should know.

    Raises `SettingsError`, which names the variable and not its value.
    """
    secret, base_url = _checked(settings)
    if secret is None:
        if base_url is None:
            return ()
        return ("OPENAI_BASE_URL has no effect without OPENAI_API_KEY.",)
    return await keep_provider(session, cipher, _ENVIRONMENT, secret, base_url)


async def keep_provider(
    session: AsyncSession, cipher: Cipher, source: Source, secret: str, base_url: str | None
) -> tuple[str, ...]:
    """Make a provider what is said elsewhere; without a base URL it stays where it is.

    Gives what the operator should know.
    """
    before = await find_serving(session)
    provider = await find_provider(session, source.provider)
    if provider is None:
        provider = await create_provider(
            session, name=source.provider, base_url=base_url or OPENAI_BASE_URL, actor=SYSTEM
        )
    if base_url is not None and base_url != provider.base_url:
        told = await _move(session, cipher, source, provider, base_url, secret)
    else:
        told = await _keep_key(session, cipher, source, provider, secret)
    # What served before there was a provider was the simulated one, if anything: no news.
    change = change_of_default(before, await find_serving(session)) if before else None
    return (
        told
        if change is None
        else (*told, f"{change} `{program()} provider default {before}` changes that.")
    )


def _checked(settings: Settings) -> tuple[str | None, str | None]:
    """The key and the base URL in normal form."""
    key, base_url = settings.openai_api_key, settings.openai_base_url
    variable = "OPENAI_API_KEY"
    try:
        secret = None if key is None else check_provider_secret(key.get_secret_value())
        variable = "OPENAI_BASE_URL"
        return secret, None if base_url is None else normal_base_url(base_url)
    except AieyeError as error:
        raise SettingsError(f"{variable}: {error.message}") from error


async def _move(
    session: AsyncSession,
    cipher: Cipher,
    source: Source,
    provider: Provider,
    base_url: str,
    secret: str,
) -> tuple[str, ...]:
    """Send the provider's calls elsewhere. Stored keys never go to an address they were not for."""
    others = [
        key.name
        for key in await list_keys(session, provider_id=provider.id)
        if key.name != source.key_name
    ]
    await change_base_url(
        session, cipher, provider_id=provider.id, base_url=base_url, secret=secret, actor=SYSTEM
    )
    for key in await list_keys(session, provider_id=provider.id):
        await update_key(session, key_id=key.id, name=source.key_name, actor=SYSTEM)
    moved = f"The provider {provider.name} now sends to {base_url} ({source.of_address})."
    if others:
        moved += f" Its other keys were removed, add them again: {', '.join(others)}."
    return (moved,)


async def _keep_key(
    session: AsyncSession, cipher: Cipher, source: Source, provider: Provider, secret: str
) -> tuple[str, ...]:
    keys = await list_keys(session, provider_id=provider.id)
    if any(_open(cipher, provider, key) == secret for key in keys):
        return ()
    named = next((key for key in keys if key.name == source.key_name), None)
    if named is None:
        await add_key(
            session, cipher, provider_id=provider.id, name=source.key_name, secret=secret,
            actor=SYSTEM,
        )  # fmt: skip
        return (f"The key of {source.of_key} is stored, sealed, in the provider {provider.name}.",)
    await replace_key(session, cipher, key_id=named.id, secret=secret, actor=SYSTEM)
    return (f"The key of {source.of_key} took the former one's place in {provider.name}.",)


def _open(cipher: Cipher, provider: Provider, key: ProviderKey) -> str | None:
    """The key's secret; None when it does not open, so that another one takes its place."""
    try:
        place = provider_key_place(key.id, provider.base_url)
        return None if key.sealed is None else cipher.open(key.sealed, place=place)
    except SealError:
        return None
