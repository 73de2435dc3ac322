"""The cache's tier in PostgreSQL: how long it is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from aieye.cache import store as store_module
from aieye.cache.store import Store
from aieye.db.engine import Database
from tests.crash.proxy import DatabaseProxy
from tests.integration.ledger_api import entry, request, running_ledger

pytestmark = pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
STORED = entry()


@pytest.fixture
def proxy(database_url: str) -> Iterator[DatabaseProxy]:
    with DatabaseProxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def store(database_url: str, proxy: DatabaseProxy) -> AsyncIterator[Store]:
    """A store that holds one entry; its look-ups go through the proxy."""
    database, seen_through = Database(database_url), Database(proxy.url)
    async with running_ledger(database) as ledger:
        writing = Store(database, ledger.writer)
        writing.put(STORED, request(), is_kept=False)
        await ledger.writer.durable()
    store = Store(seen_through, ledger.writer)
    await store.start()
    yield store
    proxy.heal()
    await store.close()
    await seen_through.close()
    await database.close()


async def test_a_database_that_does_not_answer_costs_little_time_however_often_it_is_asked(
    store: Store, proxy: DatabaseProxy
) -> None:
    proxy.freeze()
    started = time.monotonic()
    for _ in range(100):
        assert await store.find(STORED.key) is None
    # Half a second each, as the driver itself gives up, would be 50 s.
    assert time.monotonic() - started < 25
    assert proxy.broken > 0


async def test_it_is_asked_again_as_soon_as_it_answers(store: Store, proxy: DatabaseProxy) -> None:
    proxy.freeze()
    for _ in range(10):
        assert await store.find(STORED.key) is None
    proxy.heal()
    async with asyncio.timeout(20):
        while await store.find(STORED.key) is None:
            await asyncio.sleep(0.01)


async def test_a_loop_that_stands_still_is_not_the_databases_fault(store: Store) -> None:
    looking = asyncio.create_task(store.find(STORED.key))
    for delay in (0, 0.001):
        asyncio.get_running_loop().call_later(delay, time.sleep, 3 * store_module.LOOKUP_SECONDS)
    found = await looking
    assert found is not None
    assert found.body == STORED.body


async def test_a_stop_does_not_wait_for_a_database_that_is_silent(
    store: Store, proxy: DatabaseProxy
) -> None:
    proxy.freeze()
    assert await store.find(STORED.key) is None
    async with asyncio.timeout(20):
        await store.close()
