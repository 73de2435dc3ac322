"""Whose the objects at a provider are, as the database finds it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event, text

from aieye.access.snapshot import Grant
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.gateway.owned import Owned


async def test_a_list_reads_its_owners_part_of_the_index_alone(database_url: str) -> None:
    grant = Grant(1, "a token", 5, "u@example.org", "user", 1, "default", True, None, None, None)
    database = Database(database_url)
    writer = GroupWriter(database)
    await writer.start()
    asked: list[tuple[str, Any]] = []
    event.listen(
        database.engine.sync_engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, values, *_: asked.append((statement, values)),
    )
    owned = Owned(database, writer)
    try:
        owned.note(grant, "file-1", "file", (1, 7))
        owned.note(grant, "file-2", "file", (1, 7))
        owned.note(grant, "batch-1", "batch", (2, None))
        assert await owned.places_of_kind(grant, "file") == [(1, 7)]
        statement, values = asked[-1]
        async with database.read() as session:
            if not database.is_sqlite:
                # A table this small is read whole, whatever indexes it has.
                await session.execute(text("SET LOCAL enable_seqscan = off"))
                await session.execute(text("SET LOCAL enable_bitmapscan = off"))
            explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
            connection = await session.connection()
            plan = await connection.exec_driver_sql(f"{explain} {statement}", values)
            lines = "\n".join(str(row) for row in plan)
        assert ("COVERING INDEX" if database.is_sqlite else "Index Only Scan") in lines
        assert "ix_owned_objects_user_id_kind" in lines
    finally:
        await writer.close()
        await database.close()
