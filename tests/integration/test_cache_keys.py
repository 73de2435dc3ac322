"""What the cache knows of the keys in a SQLite file: it never takes a stored answer for absent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import CoroutineType
from typing import Any

import pytest

from aieye.cache import absent
from aieye.cache import store as store_module
from aieye.cache.store import Store
from aieye.db import group_writer
from aieye.db.engine import Database
from tests.integration.ledger_api import Ledger, entry, request, running_ledger

pytestmark = pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)

# So many keys fit before those of the database are read again.
ROOM = 64
ENTRIES = [entry(str(number)) for number in range(ROOM + 36)]


@pytest.fixture
async def ledger(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    monkeypatch.setattr(absent, "_LEAST_BITS", 16 * ROOM)
    monkeypatch.setattr(store_module, "_ROOM_FOR_KEYS", 1)
    database = Database(database_url)
    async with running_ledger(database) as ledger:
        yield ledger
    await database.close()


@pytest.fixture
async def store(ledger: Ledger) -> AsyncIterator[Store]:
    store = Store(ledger.database, ledger.writer)
    await store.start()
    await asyncio.gather(*reading())
    yield store
    await store.close()


def reading() -> list[asyncio.Task[Any]]:
    """The task that reads the keys, if one does."""
    return [task for task in asyncio.all_tasks() if "_read_keys" in _name(task)]


def _name(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    return coroutine.__qualname__ if isinstance(coroutine, CoroutineType) else ""


async def found(store: Store) -> int:
    return sum([await store.find(one.key) is not None for one in ENTRIES])


async def test_what_is_not_yet_committed_when_the_keys_are_read_again_is_not_forgotten(
    ledger: Ledger, store: Store
) -> None:
    gate = ledger.database.gate
    assert gate is not None
    async with gate.held_async():
        for one in ENTRIES:
            store.put(one, request(), is_kept=False)
        assert reading() != []
        await asyncio.wait(reading(), timeout=0.5)
    await ledger.writer.durable()
    await asyncio.gather(*reading())
    assert await found(store) == len(ENTRIES)


async def test_keys_that_cannot_be_read_again_are_known_as_before(
    ledger: Ledger, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_writer, "WAIT_SECONDS", 0.05)
    gate = ledger.database.gate
    assert gate is not None
    async with gate.held_async():
        for one in ENTRIES:
            store.put(one, request(), is_kept=False)
        await asyncio.gather(*reading())
    await ledger.writer.durable()
    assert await found(store) == len(ENTRIES)
