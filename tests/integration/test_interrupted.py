"""Calls whose process ended while they were open: their rows, and the sums that they join."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update

from aieye.db.engine import Database
from aieye.db.presence import Presence
from aieye.db.tables import Call, Instance
from aieye.db.types import now
from aieye.ledger.book import INTERRUPTED, OPEN
from aieye.ledger.interrupted import SILENT_SECONDS, mark_interrupted
from aieye.ledger.queries import UsageFilters, totals
from tests.crash.ledger import assert_sums_agree
from tests.installation import Installation
from tests.integration.ledger_api import INSTANCE, Ledger, at_noon, call, running_ledger


@pytest.fixture
async def ledger(database_url: str) -> AsyncIterator[Ledger]:
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        yield ledger
    await database.close()


@asynccontextmanager
async def next_process(ledger: Ledger) -> AsyncIterator[Presence]:
    presence = Presence(ledger.database, "instance-2")
    await presence.start()
    try:
        yield presence
    finally:
        await presence.close()


async def leave_open(ledger: Ledger, number: int) -> None:
    """Calls of a process that is noted as running and holds no lock: it has died."""
    async with ledger.database.write() as session:
        await session.execute(insert(Instance).values(id=INSTANCE))
    for minutes in range(number):
        record = call(at_noon(days_ago=1) + timedelta(minutes=minutes), model=None, status=None)
        record.cost_nano = record.saved_nano = record.latency_us = None
        record.tokens_input = record.tokens_output = None
        record.tokens_cached = record.tokens_reasoning = None
        ledger.book.open(record)
    await ledger.writer.durable()


async def states(ledger: Ledger) -> list[str]:
    async with ledger.database.read() as session:
        return list(await session.scalars(select(Call.state)))


async def test_interrupted_calls_join_the_sums_as_their_rows_are(
    ledger: Ledger, database_url: str
) -> None:
    await ledger.settle(call(at_noon(days_ago=1)))
    await leave_open(ledger, 3)
    async with next_process(ledger) as presence:
        await mark_interrupted(ledger.database, presence)
        assert (await states(ledger)).count(INTERRUPTED) == 3
        async with ledger.database.read() as session:
            window = {"since": at_noon(days_ago=2), "until": at_noon()}
            sums = await totals(session, filters=UsageFilters(), owner_id=None, **window)
        assert (sums.calls, sums.unpriced, sum(sums.bins.values())) == (4, 3, 1)
        # Who was marked is forgotten, so that nothing is counted twice.
        await mark_interrupted(ledger.database, presence)
    assert_sums_agree(Installation(database_url))


async def test_what_is_known_of_an_interrupted_call_is_counted(
    ledger: Ledger, database_url: str
) -> None:
    await leave_open(ledger, 1)
    # Such as a list of models: nobody is paid for it.
    free = call(at_noon(days_ago=1), model=None, status=None)
    free.cost_nano, free.saved_nano, free.latency_us = 0, 7, None
    ledger.book.open(free)
    await ledger.writer.durable()
    async with next_process(ledger) as presence:
        await mark_interrupted(ledger.database, presence)
    async with ledger.database.read() as session:
        window = {"since": at_noon(days_ago=2), "until": at_noon()}
        sums = await totals(session, filters=UsageFilters(), owner_id=None, **window)
    assert (sums.calls, sums.unpriced, sums.saved_nano) == (2, 1, 7)
    assert_sums_agree(Installation(database_url))


async def test_more_of_them_than_one_statement_takes_are_all_counted(
    ledger: Ledger, database_url: str
) -> None:
    await leave_open(ledger, 601)
    async with next_process(ledger) as presence:
        await mark_interrupted(ledger.database, presence)
    assert await states(ledger) == [INTERRUPTED] * 601
    assert_sums_agree(Installation(database_url))


async def test_a_process_that_was_heard_of_lately_is_not_taken_for_dead_by_those_beside_it(
    ledger: Ledger,
) -> None:
    await leave_open(ledger, 1)
    async with next_process(ledger) as presence:
        await mark_interrupted(ledger.database, presence, silent_seconds=SILENT_SECONDS)
        assert await states(ledger) == [OPEN]
        async with ledger.database.write() as session:
            long_ago = now() - timedelta(seconds=SILENT_SECONDS + 1)
            await session.execute(update(Instance).values(seen_at=long_ago))
        await mark_interrupted(ledger.database, presence, silent_seconds=SILENT_SECONDS)
        assert await states(ledger) == [INTERRUPTED]
