"""The databases that tests get: real, new for each test, and apart from each other."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.servers import DatabaseKind, Databases


async def _answer(url: str, *statements: str) -> object:
    """The last statement's first value."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            for statement in statements[:-1]:
                await connection.execute(text(statement))
            return (await connection.execute(text(statements[-1]))).scalar()
    finally:
        await engine.dispose()


async def test_a_database_of_each_kind_answers(
    empty_database_url: str, database_kind: DatabaseKind
) -> None:
    assert make_url(empty_database_url).get_backend_name() == database_kind
    assert await _answer(empty_database_url, "SELECT 1") == 1


# Twice the same: the second fails if anything is left of the first.
@pytest.mark.parametrize("time", [1, 2])
async def test_a_test_finds_nothing_of_another_test(empty_database_url: str, time: int) -> None:
    count = await _answer(
        empty_database_url,
        "CREATE TABLE marks (time INTEGER)",
        f"INSERT INTO marks VALUES ({time})",
        "SELECT count(*) FROM marks",
    )
    assert count == 1


async def test_a_migrated_database_has_the_newest_schema_and_changes_for_nobody_else(
    database_url: str, databases: Databases, database_kind: DatabaseKind
) -> None:
    revision = await _answer(database_url, "SELECT version_num FROM alembic_version")
    assert revision
    await _answer(database_url, "DELETE FROM alembic_version", "SELECT 1")
    with databases.migrated(database_kind) as another:
        assert await _answer(another, "SELECT version_num FROM alembic_version") == revision


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
async def test_a_database_is_dropped_even_while_somebody_is_connected(
    databases: Databases, database_kind: DatabaseKind
) -> None:
    with databases.empty(database_kind) as url:
        engine = create_async_engine(url, poolclass=NullPool)
        connection = await engine.connect()
        await connection.execute(text("SELECT 1"))
    name = make_url(url).database
    left = await _answer(
        databases.postgres.url("postgres"),
        f"SELECT count(*) FROM pg_database WHERE datname = '{name}'",
    )
    assert left == 0
    await connection.invalidate()
    await connection.close()
    await engine.dispose()
