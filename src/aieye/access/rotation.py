"""Everything sealed, sealed anew under the newest secret key.

Each step is a transaction of its own and leaves what it did valid, so that a rotation that was cut
short is simply started again. What the secrets are does not change: keys and tokens keep working.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import COMMAND_LINE, Actor, record
from aieye.access.cipher import Cipher, SealError, provider_key_place
from aieye.db.engine import Database
from aieye.db.tables import InstallationSecret, Provider, ProviderKey

BATCH_ROWS = 50
# Told how many are done, and of how many.
Progress = Callable[[int, int], None]


async def rotate_secrets(
    database: Database,
    cipher: Cipher,
    on_progress: Progress = lambda done, total: None,
    *,
    actor: Actor = COMMAND_LINE,
) -> int:
    """Re-seal every provider key and the tokens' pepper; gives how many were.

    One that does not open does not stop the others; raises `SealError` at the end, naming its row.
    """
    names, ids = await _find_stale(database, cipher)
    total = len(names) + len(ids)
    done, failed = 0, list[str]()
    on_progress(0, total)
    for name in names:
        async with database.write() as session:
            done += await _reseal_secret(session, cipher, name, actor, failed)
        on_progress(done, total)
    for start in range(0, len(ids), BATCH_ROWS):
        async with database.write() as session:
            batch = ids[start : start + BATCH_ROWS]
            done += await _reseal_keys(session, cipher, batch, actor, failed)
        on_progress(done, total)
    if failed:
        shut = ", ".join(failed)
        raise SealError(f"These stored secrets do not open and stay as they are: {shut}.")
    return done


async def _find_stale(database: Database, cipher: Cipher) -> tuple[list[str], list[int]]:
    async with database.read() as session:
        secrets = await session.scalars(select(InstallationSecret))
        names = [row.name for row in secrets if not cipher.is_newest(row.sealed)]
        keys = await session.execute(
            select(ProviderKey.id, ProviderKey.sealed)
            .where(ProviderKey.sealed.is_not(None))
            .order_by(ProviderKey.id)
        )
        return names, [row.id for row in keys if not cipher.is_newest(row.sealed or "")]


async def _reseal_secret(
    session: AsyncSession, cipher: Cipher, name: str, actor: Actor, failed: list[str]
) -> int:
    row = await session.get(InstallationSecret, name, with_for_update=True)
    if row is None or (sealed := _reseal(cipher, row.sealed, name, name, failed)) is None:
        return 0
    row.sealed = sealed
    record(session, actor, "secret.rotate", "secret", name)
    return 1


async def _reseal_keys(
    session: AsyncSession, cipher: Cipher, ids: Sequence[int], actor: Actor, failed: list[str]
) -> int:
    # Locked, so that a key replaced or wiped at this moment is not overwritten with the old one.
    rows = await session.execute(
        select(ProviderKey, Provider.base_url)
        .join(Provider, Provider.id == ProviderKey.provider_id)
        .where(ProviderKey.id.in_(ids), ProviderKey.sealed.is_not(None))
        .order_by(ProviderKey.id)
        .with_for_update(of=ProviderKey)
    )
    done = 0
    for key, base_url in rows:
        place = provider_key_place(key.id, base_url)
        sealed = _reseal(cipher, key.sealed, place, f"key {key.id}", failed)
        if sealed is not None:
            key.sealed = sealed
            record(session, actor, "key.rotate", "key", key.id)
            done += 1
    return done


def _reseal(
    cipher: Cipher, sealed: str | None, place: str, label: str, failed: list[str]
) -> str | None:
    """`sealed` under the newest key; None when it is so already, or does not open (`failed`)."""
    if sealed is None or cipher.is_newest(sealed):
        return None
    try:
        return cipher.seal(cipher.open(sealed, place=place), place=place)
    except SealError:
        failed.append(label)
        return None
