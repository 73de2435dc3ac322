"""That a process lives: the others know it for as long as it does, whatever happens to connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import delete, select

from aieye.db.engine import Database
from aieye.db.presence import Presence
from aieye.db.tables import Instance
from tests.crash.proxy import DatabaseProxy


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


async def instances(database: Database) -> list[tuple[str, bool]]:
    """Who is noted, and whether it was heard of after its start."""
    async with database.read() as session:
        rows = await session.execute(select(Instance.id, Instance.seen_at > Instance.started_at))
        return sorted((id_, bool(is_later)) for id_, is_later in rows)


async def forget_the_dead(database: Database, of: Presence) -> list[str]:
    """What each process does with those that it takes for dead."""
    async with database.write() as session:
        dead = await of.dead(session)
        await session.execute(delete(Instance).where(Instance.id.in_(dead)))
    return dead


async def test_a_process_that_was_taken_for_dead_is_noted_again(database: Database) -> None:
    presence = Presence(database, "one")
    await presence.start()
    async with database.write() as session:
        await session.execute(delete(Instance))
    await presence.beat()
    assert await instances(database) == [("one", True)]
    await presence.close()


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_process_whose_connections_were_cut_holds_its_lock_again(
    database: Database, database_url: str
) -> None:
    with DatabaseProxy(database_url) as proxy:
        seen_through = Database(proxy.url)
        one, other = Presence(seen_through, "one"), Presence(database, "other")
        await one.start()
        await other.start()
        assert await forget_the_dead(database, other) == []

        proxy.cut()
        async with asyncio.timeout(20):
            # The server gives the lock free as soon as it notices.
            while await forget_the_dead(database, other) != ["one"]:
                await asyncio.sleep(0.01)
        proxy.heal()
        await one.beat()

        assert proxy.broken > 0
        assert [name for name, _ in await instances(database)] == ["one", "other"]
        assert await forget_the_dead(database, other) == []
        await one.close()
        await seen_through.close()
        await other.close()


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_lock_that_a_lost_connection_still_holds_holds_nobody_up(
    database: Database,
) -> None:
    lost, presence = Presence(database, "one"), Presence(database, "one")
    other = Presence(database, "other")
    await lost.start()
    async with asyncio.timeout(5):
        await presence.beat()
    assert await forget_the_dead(database, other) == []
    await lost.close()
    await presence.beat()
    assert await forget_the_dead(database, other) == []
    await presence.close()
