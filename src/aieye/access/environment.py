"""The provider that `OPENAI_API_KEY` and `OPENAI_BASE_URL` configure, kept in step at each start.

The key is stored sealed under the name `environment`. The same key is never added twice, another
one takes its place, and another base URL moves the provider with the key that came with it.
"""

from __future__ import annotations

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

KEY_NAME = "environment"
OPENAI_BASE_URL = "https://api.openai.com/v1"


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
    before = await find_serving(session)
    provider = await find_provider(session, OPENAI_PROVIDER)
    if provider is None:
        provider = await create_provider(
            session, name=OPENAI_PROVIDER, base_url=base_url or OPENAI_BASE_URL, actor=SYSTEM
        )
    if base_url is not None and base_url != provider.base_url:
        told = await _move(session, cipher, provider, base_url, secret)
    else:
        told = await _keep_key(session, cipher, provider, secret)
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
    session: AsyncSession, cipher: Cipher, provider: Provider, base_url: str, secret: str
) -> tuple[str, ...]:
    """Send the provider's calls elsewhere. Stored keys never go to an address they were not for."""
    others = [
        key.name
        for key in await list_keys(session, provider_id=provider.id)
        if key.name != KEY_NAME
    ]
    await change_base_url(
        session, cipher, provider_id=provider.id, base_url=base_url, secret=secret, actor=SYSTEM
    )
    for key in await list_keys(session, provider_id=provider.id):
        await update_key(session, key_id=key.id, name=KEY_NAME, actor=SYSTEM)
    moved = f"The provider {provider.name} now sends to {base_url} (OPENAI_BASE_URL)."
    if others:
        moved += f" Its other keys were removed, add them again: {', '.join(others)}."
    return (moved,)


async def _keep_key(
    session: AsyncSession, cipher: Cipher, provider: Provider, secret: str
) -> tuple[str, ...]:
    keys = await list_keys(session, provider_id=provider.id)
    if any(_open(cipher, provider, key) == secret for key in keys):
        return ()
    named = next((key for key in keys if key.name == KEY_NAME), None)
    if named is None:
        await add_key(
            session, cipher, provider_id=provider.id, name=KEY_NAME, secret=secret, actor=SYSTEM
        )
        return (f"The key of OPENAI_API_KEY is stored, sealed, in the provider {provider.name}.",)
    await replace_key(session, cipher, key_id=named.id, secret=secret, actor=SYSTEM)
    return (f"The key of OPENAI_API_KEY took the former one's place in {provider.name}.",)


def _open(cipher: Cipher, provider: Provider, key: ProviderKey) -> str | None:
    """The key's secret; None when it does not open, so that another one takes its place."""
    try:
        place = provider_key_place(key.id, provider.base_url)
        return None if key.sealed is None else cipher.open(key.sealed, place=place)
    except SealError:
        return None
