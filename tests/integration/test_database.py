"""A database that does not answer: whatever the driver calls it, the program calls it one thing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import Connection, event, text, update

from aieye.access import directory as directories
from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.db import engine as engines
from aieye.db.engine import Database, DatabaseUnavailable, bump_revision
from aieye.db.tables import Revision


@pytest.fixture
async def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    monkeypatch.setattr(engines, "POOL_SECONDS", 0.05)
    database = Database(database_url)
    yield database
    await database.close()


async def test_a_host_whose_name_is_not_known_is_a_database_that_does_not_answer() -> None:
    database = Database("postgresql+asyncpg://nobody@no-such-host.invalid/nothing")
    for lane in (database.read, database.write):
        with pytest.raises(DatabaseUnavailable):
            async with lane() as session:
                await session.execute(text("SELECT 1"))
    await database.close()


async def take_all(stack: AsyncExitStack, database: Database) -> None:
    """Use every connection there is."""
    for _ in range(8 if database.is_sqlite else 10):
        session = await stack.enter_async_context(database.read())
        await session.execute(text("SELECT 1"))


async def test_connections_that_are_all_in_use_are_one_too(database: Database) -> None:
    async with AsyncExitStack() as stack:
        await take_all(stack, database)
        for lane in (database.read, database.write):
            with pytest.raises(DatabaseUnavailable):
                async with lane() as session:
                    await session.execute(text("SELECT 1"))


async def test_the_directory_goes_on_watching_when_the_hosts_name_is_known_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "POLL_SECONDS", 0.01)
    directory = Directory(database, Cipher(["watching-0123456789abcdefghijklmnop"]))
    await directory.start()
    before = directory.current.revision
    failed = asyncio.Event()

    def fail(*_: object) -> None:
        failed.set()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    engine = database.engine.sync_engine
    event.listen(engine, "do_connect", fail)
    await database.engine.dispose()
    watching = asyncio.create_task(directory.watch())
    async with asyncio.timeout(20):
        await failed.wait()
    event.remove(engine, "do_connect", fail)
    async with database.write() as session:
        await bump_revision(session)
    async with asyncio.timeout(20):
        while directory.current.revision == before and not watching.done():
            await asyncio.sleep(0.01)
    assert directory.current.revision > before
    watching.cancel()


def raise_revision(connection: Connection) -> int:
    connection.execute(update(Revision).values(value=Revision.value + 1))
    value: int = connection.execute(text("SELECT value FROM revision")).scalar_one()
    return value


async def read_revision(database: Database) -> int:
    async with database.read() as session:
        value: int = (await session.execute(text("SELECT value FROM revision"))).scalar_one()
        return value


async def test_what_is_written_at_once_is_committed_whoever_else_writes(database: Database) -> None:
    before = await read_revision(database)

    async def write_in_a_session() -> None:
        async with database.write() as session:
            await bump_revision(session)

    async with asyncio.TaskGroup() as group:
        works = [group.create_task(database.write_at_once(raise_revision)) for _ in range(4)]
        for _ in range(4):
            group.create_task(write_in_a_session())
    assert len({work.result() for work in works}) == 4
    assert await read_revision(database) == before + 8


async def test_what_fails_when_it_is_written_at_once_leaves_nothing(database: Database) -> None:
    before = await read_revision(database)

    def fail(connection: Connection) -> None:
        raise_revision(connection)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write_at_once(fail)
    assert await database.write_at_once(raise_revision) == before + 1


async def test_a_database_that_is_gone_is_unavailable_at_once_too() -> None:
    database = Database("postgresql+asyncpg://nobody@no-such-host.invalid/nothing")
    with pytest.raises(DatabaseUnavailable):
        await database.write_at_once(raise_revision)
    await database.close()
