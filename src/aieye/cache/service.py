"""The cache as the gateway sees it: memory over the database, one view of both."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from sqlalchemy import bindparam, update
from sqlalchemy.exc import SQLAlchemyError

from aieye.access.audit import Actor
from aieye.access.snapshot import Snapshot
from aieye.cache.entry import Entry
from aieye.cache.explain import Explanation
from aieye.cache.memory import MemoryTier
from aieye.cache.removal import Chosen, evict, purge
from aieye.cache.store import Store
from aieye.cache.why import explain, explain_request
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.db.tables import CacheEntry
from aieye.db.types import now
from aieye.errors import AieyeError
from aieye.telemetry.loggers import get_logger

log = get_logger()

MAINTENANCE_SECONDS = 10.0
# How long an entry in memory is believed where other processes may put a newer one in its place.
BELIEVED_SECONDS = 1.0
_MOST_KNOWN = 50_000
_CHUNK = 500
_MOST_TOUCHED = 50_000


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """How much each tier may hold, in bytes."""

    memory_bytes: int
    store_bytes: int


class Cache:
    """Finds, keeps and purges entries."""

    def __init__(self, database: Database, writer: GroupWriter, limits: CacheLimits) -> None:
        self._database = database
        self._writer = writer
        self._limits = limits
        self._store = Store(database, writer)
        self.memory = MemoryTier(limits.memory_bytes)
        self._touched: dict[bytes, int] = {}
        self._purges = 0
        # When a key was last read or written; None where no other process writes entries.
        self._known_at: dict[bytes, float] | None = None if database.is_sqlite else {}

    async def start(self) -> None:
        await self._store.start()

    async def close(self) -> None:
        await self._save_touches()
        await self._store.close()

    def follow(self, snapshot: Snapshot) -> None:
        """Forget what is in memory when another process has purged the database."""
        if snapshot.purges != self._purges:
            self._purges = snapshot.purges
            self.memory.clear()

    def find_in_memory(self, key: bytes) -> Entry | None:
        """The entry of `key` if it is in memory and believed without asking the database."""
        known = self._known_at
        if known is not None and known.get(key, 0.0) < time.monotonic() - BELIEVED_SECONDS:
            return None
        return self.memory.find(key)

    async def find(self, key: bytes) -> Entry | None:
        """The entry of `key`, fresh or not (`Entry.is_fresh`)."""
        entry = self.find_in_memory(key)
        if entry is not None:
            return entry
        stored = await self._store.find(key)
        self._note_known(key)
        # Another call may have stored it while the database was asked, or not yet written it.
        held = self.memory.find(key)
        if stored is None or (held is not None and held.created_at >= stored.created_at):
            return held
        self.memory.put(stored)
        return stored

    def _note_known(self, key: bytes) -> None:
        if self._known_at is not None:
            if len(self._known_at) >= _MOST_KNOWN:
                self._known_at.clear()
            self._known_at[key] = time.monotonic()

    def touch(self, entry: Entry) -> None:
        """Count a hit; written to the database every few seconds."""
        self._touched[entry.key] = self._touched.get(entry.key, 0) + 1

    def keep(self, entry: Entry, request: bytes, *, is_kept: bool) -> None:
        """Store an entry in both tiers, in place of an older one (see `Store.put`).

        Other processes see it in place of theirs within `BELIEVED_SECONDS`.
        """
        self._note_known(entry.key)
        self.memory.put(entry)
        self._store.put(entry, request, is_kept=is_kept)

    async def purge(
        self,
        actor: Actor,
        *,
        entry_id: int | None = None,
        model: str | None = None,
        namespace: str | None = None,
        everything: bool = False,
    ) -> int:
        """Remove one entry, those of a model or a namespace, or all; how many there were.

        Committed when this returns, and on record as the act of `actor`; other processes forget
        their copies within a second. What is stored meanwhile may stay.
        """
        if entry_id is None and model is None and namespace is None and not everything:
            return 0
        # What is stored but not yet written would otherwise come after the purge.
        await self._writer.durable()
        try:
            return await purge(self._database, actor, Chosen(entry_id, model, namespace))
        finally:
            self.memory.clear()

    async def explain(self, call_id: str) -> Explanation:
        """Why a call missed. Raises `NotFound`."""
        return await explain(self._database, call_id)

    async def explain_request(self, text: bytes, *, endpoint: str, namespace: str) -> Explanation:
        """What a request with this body would be held against. Raises `NotJson`."""
        return await explain_request(self._database, text, endpoint=endpoint, namespace=namespace)

    async def maintain(self) -> None:
        """Write down hits and keep the database tier within its bytes, for ever."""
        while True:
            await asyncio.sleep(MAINTENANCE_SECONDS)
            try:
                await self._save_touches()
                await evict(self._database, self._limits.store_bytes)
            except (AieyeError, SQLAlchemyError) as error:
                log.warning("cache_not_maintained", reason=type(error).__name__)

    async def _save_touches(self) -> None:
        touched, self._touched = self._touched, {}
        if not touched:
            return
        moment = now()
        statement = (
            update(CacheEntry.__table__)  # type: ignore[arg-type] # declared as FromClause
            .where(CacheEntry.key == bindparam("of"))
            .values(hits=CacheEntry.hits + bindparam("more"), last_used_at=bindparam("at"))
        )
        # In the order in which writers lock entries (`aieye.db.batches.in_lock_order`).
        rows = [{"of": key, "more": hits, "at": moment} for key, hits in sorted(touched.items())]
        for start in range(0, min(len(rows), _MOST_TOUCHED), _CHUNK):
            async with self._database.write() as session:
                await session.execute(statement, rows[start : start + _CHUNK])
