"""The ledger's writer when the database refuses, fails and contradicts: every row once, or a fault
that is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from sqlalchemy import func, select

from aieye.db import group_writer
from aieye.db.batches import Groups
from aieye.db.engine import Database
from aieye.db.group_writer import NotRecorded
from aieye.db.postgresql_backend import PostgresBackend
from aieye.db.sqlite_backend import SqliteBackend
from aieye.db.tables import Call, CallBody, UsageRollup
from aieye.ledger.book import BODIES
from aieye.ledger.rollups import DAY
from tests.integration.ledger_api import Ledger, call, running_ledger

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
