"""What is past its time goes, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from aieye.cache.entry import Provenance
from aieye.db.engine import Database
from aieye.db.tables import (
    CacheEntry,
    CacheTotals,
    Call,
    CallBody,
    IdempotentCall,
    Instance,
    LatencyRollup,
    LoginAttempt,
    Session,
    UsageRollup,
    User,
)
from aieye.db.types import now, to_micros
from aieye.ledger import retention
from aieye.ledger.queries import totals
from aieye.ledger.retention import keep_pruning, prune
from aieye.ledger.rollups import DAY, HOUR, MINUTE
from aieye.settings import Settings, load_settings
from tests.integration.ledger_api import Ledger, call, entry, request, running_ledger

DAYS = timedelta(days=1)


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        yield ledger
    await database.close()


async def left(ledger: Ledger, column: Any, *conditions: Any) -> list[Any]:
    """What is left of a column, in its order."""
    async with ledger.database.read() as session:
        found = await session.scalars(select(column).where(*conditions).order_by(column))
        return list(found)


def settings(**values: Any) -> Settings:
    return load_settings(**values)


async def test_texts_go_after_their_days_and_rows_stay(ledger: Ledger) -> None:
    old, young = call(now() - 31 * DAYS), call(now() - 29 * DAYS)
    for record in (old, young):
        ledger.keep_body(record, b"asked", b"answered")
    await ledger.settle(old, young)
    counts = await prune(ledger.database, settings())
    assert counts["call_bodies"] == 1
    assert await left(ledger, CallBody.id) == [young.id]
    assert len(await left(ledger, Call.id)) == 2


async def test_with_no_days_texts_go_at_the_next_pruning(ledger: Ledger) -> None:
    record = call()
    ledger.keep_body(record, b"asked", None)
    await ledger.settle(record)
    await prune(ledger.database, settings(ledger_retention_days=0))
    assert await left(ledger, CallBody.id) == []


async def test_more_rows_than_fit_one_transaction_all_go(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK_ROWS", 3)
    records = [call(now() - 40 * DAYS) for _ in range(10)]
    for record in records:
        ledger.keep_body(record, b"asked", None)
    await ledger.settle(*records)
    assert (await prune(ledger.database, settings()))["call_bodies"] == 10


async def test_writers_get_their_turn_between_chunks(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "CHUNK_ROWS", 2)
    records = [call(now() - 40 * DAYS) for _ in range(60)]
    for record in records:
        ledger.keep_body(record, b"asked", None)
    await ledger.settle(*records)
    pruning = asyncio.create_task(prune(ledger.database, settings()))
    await asyncio.sleep(0.02)
    await ledger.settle(call())
    assert not pruning.done()
    await pruning


def idempotent(key: str, created_at: datetime) -> IdempotentCall:
    return IdempotentCall(
        token_id=1, path="/v1/x", key=key, body_digest="d", call_id="c", status=200, headers=None,
        body=b"", created_at=created_at,
    )  # fmt: skip


async def test_keys_sessions_attempts_and_dead_processes_go_after_their_time(
    ledger: Ledger,
) -> None:
    moment = now()
    async with ledger.database.write() as session:
        session.add(User(id=1, email="a@example.org", role="user", password_hash=None))
        await session.flush()
        for name, age in (("old", 25), ("young", 23)):
            then = moment - timedelta(hours=age)
            expires = moment + timedelta(hours=24 - age)
            session.add_all(
                [
                    idempotent(name, then),
                    Session(digest=name, user_id=1, csrf_token="c", expires_at=expires),
                    LoginAttempt(subject=name, failures=1, window_started_at=then),
                    Instance(id=name, started_at=then, seen_at=then),
                ]
            )
    await prune(ledger.database, settings())
    for column in (IdempotentCall.key, Session.digest, LoginAttempt.subject, Instance.id):
        assert await left(ledger, column) == ["young"], column


async def test_a_dead_process_is_remembered_while_calls_of_its_are_open(ledger: Ledger) -> None:
    async with ledger.database.write() as session:
        then = now() - 3 * DAYS
        session.add(Instance(id="instance-1", started_at=then, seen_at=then))
    record = call()
    ledger.book.open(record)
    await ledger.writer.durable()
    await prune(ledger.database, settings())
    assert await left(ledger, Instance.id) == ["instance-1"]
    await ledger.settle(record)
    await prune(ledger.database, settings())
    assert await left(ledger, Instance.id) == []


async def test_expired_answers_go_and_the_cache_stays_counted(ledger: Ledger) -> None:
    from aieye.cache.store import Store  # noqa: PLC0415 - as the cache itself writes

    store = Store(ledger.database, ledger.writer)
    past, future = (to_micros(now() + hours * timedelta(hours=1)) for hours in (-1, 1))
    kept = [entry("for ever"), entry("young", expires_at=future)]
    for one in (*kept, entry("old", expires_at=past), entry("older", expires_at=past - 1)):
        store.put(one, request(), is_kept=False)
    await ledger.writer.durable()
    assert (await prune(ledger.database, settings()))["cache_entries"] == 2
    async with ledger.database.read() as session:
        totals_row = (await session.scalars(select(CacheTotals))).one()
        count, size = (
            await session.execute(
                select(func.count(), func.sum(CacheEntry.size_bytes)).select_from(CacheEntry)
            )
        ).one()
    assert (totals_row.entries, totals_row.size_bytes) == (count, int(size))
    assert count == 2


async def test_minutes_go_after_35_days_and_hours_and_days_stay(ledger: Ledger) -> None:
    await ledger.settle(call(now() - 40 * DAYS), call(now() - 34 * DAYS))
    await prune(ledger.database, settings())
    for table in (UsageRollup, LatencyRollup):
        grains = await left(ledger, table.grain)
        assert grains == [MINUTE, HOUR, HOUR, DAY, DAY], table
    async with ledger.database.read() as session:
        found = await totals(session, since=now() - 60 * DAYS, owner_id=None)
    assert found.calls == 2


async def test_pruning_twice_removes_nothing_more(ledger: Ledger) -> None:
    await ledger.settle(call(now() - 40 * DAYS))
    await prune(ledger.database, settings())
    assert set((await prune(ledger.database, settings())).values()) == {0}


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_database_that_is_away_is_waited_for(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "INTERVAL_SECONDS", 0.01)
    database = Database(empty_database_url)
    task = asyncio.create_task(keep_pruning(database, settings()))
    await asyncio.sleep(0.2)
    assert not task.done()
    task.cancel()
    await database.close()


@pytest.mark.parametrize("size", [10, 20_000], ids=["plain", "compressed"])
async def test_a_text_that_a_stored_answer_gives_goes_from_the_ledger_only(
    ledger: Ledger, size: int
) -> None:
    from aieye.cache.store import Store  # noqa: PLC0415 - as the cache itself writes

    record = call(now() - 31 * DAYS)
    answer = b'{"choices":[], "x":"' + b"y" * size + b'"}'
    ledger.keep_body(record, request(), answer)
    stored = entry(body=answer, provenance=Provenance(body_id=record.id))
    store = Store(ledger.database, ledger.writer)
    await store.start()
    store.put(stored, request(), is_kept=True)
    await ledger.settle(record)
    assert await store.find(stored.key) == stored
    assert await left(ledger, CacheEntry.body) == [b""]

    await prune(ledger.database, settings())

    assert await left(ledger, CallBody.id) == []
    assert await store.find(stored.key) == stored
    assert await left(ledger, CacheEntry.request) == [request()]
    await store.close()
