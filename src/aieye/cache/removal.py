"""Entries leave the database: purged by somebody, or evicted when there is no room for them.

A purge of everything may take a minute. So it goes by the entries' ids, a few of them in each
transaction, and the ledger writes in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.db.chunks import within
from aieye.db.engine import Database, bump_revision
from aieye.db.tables import CacheEntry, CacheTotals, Revision

# What one transaction removes: SQLite takes 60 µs for an entry, and has to read the pages of its
# texts to give them free.
CHUNK_ROWS = 500
CHUNK_BYTES = 16 * 2**20
# Eviction stops at this share of the limit, so that it does not run at every turn.
_EVICT_TO = 0.95


@dataclass(frozen=True, slots=True)
class Chosen:
    """The entries that a purge removes: one, those of a model, a namespace or both, or all."""

    entry_id: int | None = None
    model: str | None = None
    namespace: str | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        named = {"id": self.entry_id, "model": self.model, "namespace": self.namespace}
        return [
            getattr(CacheEntry, name) == value for name, value in named.items() if value is not None
        ]

    def details(self) -> dict[str, Any]:
        """What the audit says of them besides the id."""
        named = {"model": self.model, "namespace": self.namespace}
        given = {name: value for name, value in named.items() if value is not None}
        return given if given or self.entry_id is not None else {"all": True}


async def purge(database: Database, actor: Actor, chosen: Chosen) -> int:
    """Remove the entries that are there now; how many there were.

    The act is on record with the first of them. Processes forget what they hold in memory then, and
    again at the end, since they may have read what was not yet gone. Raises `DatabaseUnavailable`,
    when some may be gone and others not.
    """
    conditions = chosen.conditions()
    async with database.read() as session:
        newest = select(CacheEntry.id).where(*conditions).order_by(CacheEntry.id.desc()).limit(1)
        last = await session.scalar(newest) or 0
    removed, after, is_on_record = 0, 0, False
    while True:
        ids = await _next_ids(database, conditions, after, last)
        is_over = not ids or ids[-1] == last
        async with database.write() as session:
            if ids:
                removed += await _remove(session, ids, conditions)
            if not is_on_record:
                place = "*" if chosen.entry_id is None else chosen.entry_id
                record(session, actor, "cache.purge", "cache_entry", place, **chosen.details())
            if is_over or not is_on_record:
                await _note_purge(session)
        if is_over:
            return removed
        after, is_on_record = ids[-1], True


async def evict(database: Database, most_bytes: int) -> None:
    """Remove the entries that were not used for longest until the others are well below
    `most_bytes`. Raises `DatabaseUnavailable`."""
    async with database.read() as session:
        size = await _size_bytes(session)
    if size <= most_bytes:
        return
    while size > most_bytes * _EVICT_TO:
        async with database.write() as session:
            # Those that another process is removing or replacing are left to it.
            oldest = (
                select(CacheEntry.id, CacheEntry.size_bytes)
                .order_by(CacheEntry.last_used_at)
                .limit(CHUNK_ROWS)
                .with_for_update(skip_locked=True)
            )
            ids = within(
                ((id_, bytes_) for id_, bytes_ in await session.execute(oldest)), CHUNK_BYTES
            )
            if not ids:
                return
            await session.execute(delete(CacheEntry).where(CacheEntry.id.in_(ids)))
            size = await _size_bytes(session)
        await asyncio.sleep(0)


async def _next_ids(
    database: Database, conditions: Sequence[ColumnElement[bool]], after: int, last: int
) -> list[int]:
    """The next chunk's; read before the transaction, since finding them may take its time."""
    statement = (
        select(CacheEntry.id, CacheEntry.size_bytes)
        .where(*conditions, CacheEntry.id > after, CacheEntry.id <= last)
        .order_by(CacheEntry.id)
        .limit(CHUNK_ROWS)
    )
    async with database.read() as session:
        rows = await session.execute(statement)
        return within(((id_, size) for id_, size in rows), CHUNK_BYTES)


async def _remove(
    session: AsyncSession, ids: Sequence[int], conditions: Sequence[ColumnElement[bool]]
) -> int:
    # PostgreSQL locks them in the order in which writers do, so that neither waits for the other in
    # turn. SQLite may have given an id to another entry meanwhile.
    locked = (
        select(CacheEntry.id)
        .where(CacheEntry.id.in_(ids), *conditions)
        .order_by(CacheEntry.key)
        .with_for_update()
    )
    found = (await session.scalars(locked)).all()
    await session.execute(delete(CacheEntry).where(CacheEntry.id.in_(found)))
    return len(found)


async def _size_bytes(session: AsyncSession) -> int:
    return await session.scalar(select(CacheTotals.size_bytes)) or 0


async def _note_purge(session: AsyncSession) -> None:
    """Tell all processes, with this commit, to forget the entries they hold in memory."""
    await session.execute(update(Revision).values(purges=Revision.purges + 1))
    await bump_revision(session)
