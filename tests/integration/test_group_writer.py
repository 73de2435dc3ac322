"""The ledger's writer when the database refuses, fails and contradicts: every row once, or a fault
that is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import func, select, text

from aieye.cache.store import Store
from aieye.db import group_writer
from aieye.db.batches import Groups
from aieye.db.engine import Database
from aieye.db.group_writer import NotRecorded
from aieye.db.postgresql_backend import PostgresBackend
from aieye.db.sqlite_backend import SqliteBackend
from aieye.db.tables import CacheEntry, Call, CallBody, UsageRollup
from aieye.ledger.book import BODIES, ROLLUPS
from aieye.ledger.rollups import DAY
from tests.integration.ledger_api import Ledger, call, entry, request, running_ledger

Faults = dict[int, Exception]


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    """What the writer's transactions fail with, by their number from 1 on; each fault once."""
    planned: Faults = {}
    number = 0

    def faulty(kind: type[SqliteBackend | PostgresBackend]) -> Callable[[Database], Any]:
        class Faulty(kind):  # type: ignore[valid-type, misc] # both are alike here
            async def write(self, batch: Groups) -> None:
                nonlocal number
                number += 1
                if number in planned:
                    raise planned.pop(number)
                await super().write(batch)

        return Faulty

    monkeypatch.setattr(group_writer, "SqliteBackend", faulty(SqliteBackend))
    monkeypatch.setattr(group_writer, "PostgresBackend", faulty(PostgresBackend))
    monkeypatch.setattr(group_writer, "RETRY_SECONDS", 0.01)
    return planned


@pytest.fixture
async def ledger(database_url: str, faults: Faults) -> AsyncIterator[Ledger]:
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        yield ledger
    await database.close()


async def scalar(ledger: Ledger, statement: Any) -> Any:
    async with ledger.database.read() as session:
        return await session.scalar(statement)


def put_what_no_database_takes(ledger: Ledger) -> None:
    ledger.writer.put(BODIES, "refused", ("refused", None, False, None, None))


@pytest.mark.parametrize("failing", range(2, 9))
async def test_a_connection_that_breaks_while_a_refused_batch_is_written_row_by_row_loses_none(
    ledger: Ledger, faults: Faults, failing: int
) -> None:
    faults[failing] = OSError("broken")
    put_what_no_database_takes(ledger)
    await ledger.settle(call(), call())
    assert faults == {}
    assert (ledger.writer.stats.refused, ledger.writer.stats.failures) == (1, 1)
    assert ledger.writer.is_healthy
    await ledger.settle(call())
    assert await scalar(ledger, select(func.count(Call.id))) == 3
    counted = select(func.sum(UsageRollup.calls)).where(UsageRollup.grain == DAY)
    assert await scalar(ledger, counted) == 3
    assert await scalar(ledger, select(func.count(CallBody.id))) == 0


async def test_a_writer_that_ends_by_a_fault_of_ours_lets_no_call_in(
    ledger: Ledger, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_writer, "WAIT_SECONDS", 0.2)
    faults[1] = RuntimeError("nobody thought of this")
    with pytest.raises(NotRecorded):
        await ledger.settle(call())
    assert faults == {}
    assert not ledger.writer.is_healthy
    assert not ledger.writer.is_admitting
    # It can still be closed.
    async with asyncio.timeout(20):
        await ledger.writer.close()


async def test_a_writer_that_ends_is_known_before_anybody_waits_for_it(
    ledger: Ledger, faults: Faults
) -> None:
    faults[1] = RuntimeError("nobody thought of this")
    ledger.book.settle(call())
    async with asyncio.timeout(20):
        while ledger.writer.is_healthy:
            await asyncio.sleep(0.01)


# -- on PostgreSQL, where several processes write at once ------------------------------------------

only_postgresql = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
STOPPED = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
AND application_name = 'aieye ledger' AND wait_event_type = 'Lock'
"""


async def until_it_waits_for_a_lock(ledger: Ledger) -> None:
    async with asyncio.timeout(20):
        while await scalar(ledger, text(STOPPED)) == 0:
            await asyncio.sleep(0.01)


@only_postgresql
async def test_rows_are_locked_in_the_order_of_their_tables_and_keys(ledger: Ledger) -> None:
    store = Store(ledger.database, ledger.writer)
    first, last = sorted((entry("one"), entry("two")), key=lambda stored: stored.key)

    def put_in_another_order() -> None:
        ledger.writer.add(ROLLUPS, (DAY, 0, 2), [1] * 9)
        ledger.writer.add(ROLLUPS, (DAY, 0, 1), [1] * 9)
        store.put(last, request(), is_kept=False)
        store.put(first, request(), is_kept=False)

    put_in_another_order()
    await ledger.writer.durable()
    async with ledger.database.write() as session:
        locked = select(CacheEntry.id).where(CacheEntry.key == first.key).with_for_update()
        await session.execute(locked)
        put_in_another_order()
        durable = ledger.writer.durable()
        await until_it_waits_for_a_lock(ledger)
        # It has none of the others yet: whoever holds the first may take them.
        for free in (select(CacheEntry.id).where(CacheEntry.key == last.key), select(UsageRollup)):
            await session.execute(free.with_for_update(nowait=True))
    await durable


@only_postgresql
@pytest.mark.parametrize("code", ["40P01", "40001"], ids=["deadlock", "serialisation failure"])
async def test_a_batch_that_gives_way_to_another_is_written_at_once_and_is_no_fault(
    ledger: Ledger, code: str
) -> None:
    async with ledger.database.write() as session:
        for statement in (
            "CREATE SEQUENCE gave_way",
            "CREATE FUNCTION give_way() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF nextval('gave_way') <= 3 THEN RAISE EXCEPTION USING ERRCODE = '{code}'; END IF; "
            "RETURN NULL; END $$",
            "CREATE TRIGGER give_way AFTER INSERT ON calls EXECUTE FUNCTION give_way()",
        ):
            await session.execute(text(statement))
    await ledger.settle(call())
    assert await scalar(ledger, text("SELECT last_value FROM gave_way")) == 4
    assert ledger.writer.stats.failures == 0
    assert await scalar(ledger, select(func.count(Call.id))) == 1
    counted = select(func.sum(UsageRollup.calls)).where(UsageRollup.grain == DAY)
    assert await scalar(ledger, counted) == 1
