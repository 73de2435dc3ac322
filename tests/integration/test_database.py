"""A database that does not answer: whatever the driver calls it, the program calls it one thing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import cast

import pytest
from sqlalchemy import Table, event, select, text

from aieye.access import directory as directories
from aieye.access.cipher import Cipher
from aieye.access.directory import Directory
from aieye.db import engine as engines
from aieye.db.at_once import Rows
from aieye.db.engine import Database, DatabaseUnavailable, bump_revision
from aieye.db.tables import Route


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


async def read_revision(database: Database) -> int:
    async with database.read() as session:
        value: int = (await session.execute(text("SELECT value FROM revision"))).scalar_one()
        return value


ROUTES = cast("Table", Route.__table__)
AT = datetime(2026, 11, 20, 12, 30, 0, 123_456, tzinfo=UTC)


def route(alias: str, **others: object) -> dict[str, object]:
    row = {"alias": alias, "strategy": "priority", "targets": [{"model": "a"}], "created_at": AT}
    return {**row, "updated_at": AT, **others}


async def aliases(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(Route.alias).order_by(Route.id)))


async def test_rows_that_are_written_at_once_are_those_that_a_session_reads(
    database: Database,
) -> None:
    def write(rows: Rows) -> int:
        row_id = rows.insert(ROUTES, route("one", targets=[{"model": "ä"}]))
        rows.insert_all(ROUTES, [route(f"r{number}") for number in range(3)])
        rows.insert_all(ROUTES, [])
        return row_id

    row_id = await database.write_at_once(write)
    async with database.read() as session:
        found = await session.get(Route, row_id)
    assert found is not None
    assert (found.alias, found.targets, found.created_at) == ("one", [{"model": "ä"}], AT)
    assert await aliases(database) == ["one", "r0", "r1", "r2"]


async def test_a_row_that_is_changed_at_once_has_to_be_there(database: Database) -> None:
    row_id = await database.write_at_once(lambda rows: rows.insert(ROUTES, route("one")))

    def change(rows: Rows, row_id: int) -> bool:
        return rows.update(ROUTES, row_id, {"alias": "other", "targets": []})

    assert await database.write_at_once(lambda rows: change(rows, row_id))
    assert not await database.write_at_once(lambda rows: change(rows, row_id + 1))
    async with database.read() as session:
        found = await session.get(Route, row_id)
    assert found is not None
    assert (found.alias, found.targets, found.strategy) == ("other", [], "priority")


async def test_more_rows_than_one_statement_takes_are_written_at_once_too(
    database: Database,
) -> None:
    many = [route(f"r{number}") for number in range(2 * 32_766 // len(route("")) + 1)]
    await database.write_at_once(lambda rows: rows.insert_all(ROUTES, many))
    assert await aliases(database) == [row["alias"] for row in many]


async def test_what_is_written_at_once_is_committed_whoever_else_writes(database: Database) -> None:
    before = await read_revision(database)

    async def write_in_a_session() -> None:
        async with database.write() as session:
            await bump_revision(session)

    async def write_one(alias: str) -> None:
        await database.write_at_once(lambda rows: rows.insert(ROUTES, route(alias)))

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(write_one(f"r{number}"))
            group.create_task(write_in_a_session())
    assert sorted(await aliases(database)) == ["r0", "r1", "r2", "r3"]
    assert await read_revision(database) == before + 4


async def test_what_fails_when_it_is_written_at_once_leaves_nothing(database: Database) -> None:
    def fail(rows: Rows) -> None:
        rows.insert(ROUTES, route("one"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await database.write_at_once(fail)
    await database.write_at_once(lambda rows: rows.insert(ROUTES, route("two")))
    assert await aliases(database) == ["two"]


@pytest.mark.parametrize("database_kind", ["sqlite"], indirect=True)
async def test_a_file_that_cannot_be_written_at_once_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_MS", 1)
    holder = database.connect_sqlite()
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable):
        await database.write_at_once(lambda rows: rows.insert(ROUTES, route("one")))
    holder.execute("ROLLBACK")
    holder.close()
    await database.write_at_once(lambda rows: rows.insert(ROUTES, route("two")))
    assert await aliases(database) == ["two"]


async def test_a_database_that_is_gone_is_unavailable_at_once_too() -> None:
    database = Database("postgresql+asyncpg://nobody@no-such-host.invalid/nothing")
    with pytest.raises(DatabaseUnavailable):
        await database.write_at_once(lambda rows: rows.insert(ROUTES, route("one")))
    await database.close()


async def test_a_token_that_cannot_be_looked_up_is_not_called_wrong(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "LOOK_SECONDS", 0.2)
    directory = Directory(database, Cipher(["looking-0123456789abcdefghijklmnop"]))
    await directory.start()
    async with AsyncExitStack() as stack:
        await take_all(stack, database)
        with pytest.raises(DatabaseUnavailable):
            await directory.know_grant("aie_unknown")

    async def hang() -> None:
        await asyncio.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(directory, "_look", hang)
        with pytest.raises(DatabaseUnavailable):
            await directory.know_grant("aie_unknown")
    assert await directory.know_grant("aie_unknown") is None
