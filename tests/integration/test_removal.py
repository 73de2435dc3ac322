"""Entries leave the database a few at a time, and a purge leaves its act on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import event, func, select

from aieye.access.audit import SYSTEM
from aieye.cache import removal
from aieye.cache.service import Cache, CacheLimits
from aieye.db.engine import Database
from aieye.db.tables import AuditEntry, CacheEntry, CacheTotals
from tests.integration.ledger_api import Ledger, call, entry, request, running_ledger
from tests.integration.statements import COMMIT, rows_of, watched


@dataclass
class Stored(Ledger):
    """A ledger with a cache over it."""

    cache: Cache

    async def keep(self, *prompts: str, **fields: Any) -> None:
        for prompt in prompts:
            self.cache.keep(entry(prompt, **fields), request(prompt), is_kept=False)
        await self.writer.durable()

    async def scalar(self, column: Any) -> Any:
        async with self.database.read() as session:
            return await session.scalar(select(column))

    async def entries(self) -> int:
        counted: int = await self.scalar(func.count(CacheEntry.id))
        assert counted == await self.scalar(CacheTotals.entries)
        return counted


@pytest.fixture
async def stored(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stored]:
    monkeypatch.setattr(removal, "CHUNK_ROWS", 3)
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        cache = Cache(database, ledger.writer, CacheLimits(2**20, 2**30))
        await cache.start()
        yield Stored(database, ledger.writer, ledger.book, cache)
        await cache.close()
    await database.close()


DELETED, NOTED, ACT = "DELETE FROM cache_entries", "UPDATE revision SET", "INSERT INTO audit"


async def test_a_purge_of_many_goes_in_small_transactions_of_which_the_first_holds_the_act(
    stored: Stored,
) -> None:
    await stored.keep(*map(str, range(10)))
    with watched(stored.database) as done:
        assert await stored.cache.purge(SYSTEM, everything=True) == 10
    assert rows_of(done, DELETED) == [3, 3, 3, 1]
    statements = [statement for statement, _ in done]
    transactions = " ".join(statements).split(COMMIT)
    assert [part.count(DELETED) for part in transactions] == [1, 1, 1, 1, 0]
    assert [ACT in part for part in transactions] == [True, False, False, False, False]
    # Others may have read into their memory, after the first note, what was not yet gone.
    assert [NOTED in part for part in transactions] == [True, False, False, True, False]
    assert await stored.entries() == 0


async def test_large_entries_go_fewer_at_a_time(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "CHUNK_BYTES", 25_000)
    await stored.keep(*map(str, range(5)), body=b"x" * 10_000)
    with watched(stored.database) as done:
        assert await stored.cache.purge(SYSTEM, everything=True) == 5
    assert rows_of(done, DELETED) == [2, 2, 1]


async def test_what_was_asked_is_removed_and_nothing_else(stored: Stored) -> None:
    for number in range(8):
        await stored.keep(str(number), model=f"m{number % 2}")
        await stored.keep(str(number), model=f"m{number % 2}", namespace="team")
    assert await stored.cache.purge(SYSTEM, model="m1", namespace="team") == 4
    assert await stored.cache.purge(SYSTEM, model="m1") == 4
    assert await stored.cache.purge(SYSTEM, namespace="team") == 4
    assert await stored.cache.purge(SYSTEM, namespace="nobody's") == 0
    assert await stored.entries() == 4


async def test_a_purge_that_fails_at_once_leaves_neither_a_gap_nor_an_act(stored: Stored) -> None:
    await stored.keep("a")

    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(DELETED):
            raise RuntimeError("the entries cannot be removed")

    engine = stored.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(RuntimeError):
            await stored.cache.purge(SYSTEM, everything=True)
    finally:
        event.remove(engine, "before_cursor_execute", fail)
    assert await stored.entries() == 1
    assert await stored.scalar(func.count(AuditEntry.id)) == 0


async def test_a_purge_that_cannot_be_put_on_record_removes_nothing(stored: Stored) -> None:
    await stored.keep("a")

    def fail(*_: object) -> None:
        raise RuntimeError("the audit cannot be written")

    event.listen(AuditEntry, "before_insert", fail)
    try:
        with pytest.raises(RuntimeError):
            await stored.cache.purge(SYSTEM, everything=True)
    finally:
        event.remove(AuditEntry, "before_insert", fail)
    assert await stored.entries() == 1


async def test_what_is_stored_while_a_purge_runs_stays(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "CHUNK_ROWS", 1)
    await stored.keep(*map(str, range(20)))
    later: list[int] = []

    def store_one_more(_connection: Any) -> None:
        later.append(len(later))
        stored.cache.keep(entry(f"later {len(later)}"), request(), is_kept=False)

    engine = stored.database.engine.sync_engine
    event.listen(engine, "commit", store_one_more)
    try:
        assert await stored.cache.purge(SYSTEM, everything=True) == 20
    finally:
        event.remove(engine, "commit", store_one_more)
    await stored.writer.durable()
    assert await stored.entries() == len(later) == 20


async def test_the_ledger_gets_its_turn_while_a_purge_runs(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "CHUNK_ROWS", 1)
    await stored.keep(*map(str, range(60)))
    purging = asyncio.create_task(stored.cache.purge(SYSTEM, everything=True))
    turns = 0
    while not purging.done():
        await stored.settle(call())
        turns += 1
    assert turns > 1
    assert await purging == 60


async def test_the_oldest_entries_are_evicted_a_few_at_a_time(stored: Stored) -> None:
    await stored.keep(*map(str, range(10)))
    size = await stored.scalar(CacheTotals.size_bytes)
    with watched(stored.database) as done:
        await removal.evict(stored.database, size // 2)
    assert rows_of(done, DELETED) == [3, 3]
    assert await stored.entries() == 4
    await removal.evict(stored.database, size // 2)
    assert await stored.entries() == 4
