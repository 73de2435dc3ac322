"""Calls that were open when their process ended: marked, and counted as what is known of them.

So are the runs of pipelines that were under way; their calls have rows of their own.

A row is final once it is marked, so it joins the sums in the transaction that marks it, with what it
says: where a provider may have worked, that is no cost. How long it took nobody knows, so it is in no
latency bin.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Table, delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.dialects import insert_for
from aieye.db.engine import Database
from aieye.db.presence import Presence
from aieye.db.tables import Call, Execution, Instance
from aieye.db.types import now, to_micros
from aieye.ledger.book import (
    DIMENSION_NAMES,
    DIMENSIONS,
    INTERRUPTED,
    OPEN,
    ROLLUPS,
    dimension_id,
    dimension_of,
)
from aieye.ledger.rollups import GRAINS, bucket_of
from aieye.telemetry.loggers import get_logger

log = get_logger()

HEARTBEAT_SECONDS = 5.0
# How long a process that serves beside this one may be silent before it is taken for dead.
SILENT_SECONDS = 30.0
# SQLite takes 32,766 values in one statement.
_MOST_ROWS = 500
_ENDED = {"code": "E503", "message": "the process ended"}

# What the sums take from a row beside "calls" and "unpriced".
_AMOUNTS = tuple(
    name for name in ROLLUPS.columns if name not in {*ROLLUPS.key, "calls", "unpriced"}
)
_COUNTED = (Call.created_at, *(getattr(Call, name) for name in (*_AMOUNTS, *DIMENSION_NAMES)))


async def mark_interrupted(
    database: Database, presence: Presence, *, silent_seconds: float = 0
) -> None:
    """Mark and count what dead processes left open, and forget these processes."""
    async with database.write() as session:
        dead = await presence.dead(session, silent_seconds=silent_seconds)
        if not dead:
            return
        marked = await session.execute(
            update(Call)
            .where(Call.state == OPEN, Call.instance_id.in_(dead))
            .values(state=INTERRUPTED, error="interrupted: the process ended")
            .returning(*_COUNTED)
        )
        await _count(session, marked.all())
        await session.execute(
            update(Execution)
            .where(Execution.status == "running", Execution.instance_id.in_(dead))
            .values(status="interrupted", ended_at=now(), error=_ENDED)
        )
        await session.execute(delete(Instance).where(Instance.id.in_(dead)))


async def keep_beating(database: Database, presence: Presence) -> None:
    """Say for ever that this process lives, and look after those that do not any more."""
    while True:
        await asyncio.sleep(HEARTBEAT_SECONDS)
        try:
            await presence.beat()
            if not database.is_sqlite:
                await mark_interrupted(database, presence, silent_seconds=SILENT_SECONDS)
        except Exception as error:  # noqa: BLE001 - a worker loop: the database may be away
            log.warning("heartbeat_missed", reason=type(error).__name__)


async def _count(session: AsyncSession, calls: Sequence[Any]) -> None:
    """Add calls to the sums; `calls` are rows of `_COUNTED`."""
    dimensions: dict[int, tuple[int | str, ...]] = {}
    sums: dict[tuple[int, int, int], Counter[str]] = defaultdict(Counter)
    for call in calls:
        values = dimension_of(call)
        dimension = dimension_id(values)
        dimensions[dimension] = values
        amounts = {name: getattr(call, name) or 0 for name in _AMOUNTS}
        amounts |= {"calls": 1, "unpriced": int(call.cost_nano is None)}
        for grain in GRAINS:
            bucket = bucket_of(to_micros(call.created_at) // 1_000_000, grain)
            sums[grain, bucket, dimension].update(amounts)
    names = DIMENSIONS.columns
    await _write(
        session,
        DIMENSIONS.table,
        [dict(zip(names, (id_, *dimensions[id_]), strict=True)) for id_ in sorted(dimensions)],
    )
    added = [
        dict(zip(ROLLUPS.key, place, strict=True)) | amounts
        # In the order of the group writer's own rows, so that neither waits for the other in turn.
        for place, amounts in sorted(sums.items())
    ]
    await _write(
        session, ROLLUPS.table, added, adds=("calls", "unpriced", *_AMOUNTS), key=ROLLUPS.key
    )


async def _write(
    session: AsyncSession,
    table: Table,
    rows: list[dict[str, Any]],
    *,
    adds: tuple[str, ...] = (),
    key: tuple[str, ...] = (),
) -> None:
    """Insert rows; where one is there already, its columns `adds` grow and nothing else changes."""
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    insert = insert_for(is_sqlite=is_sqlite)
    for start in range(0, len(rows), _MOST_ROWS):
        statement = insert(table).values(rows[start : start + _MOST_ROWS])
        if adds:
            changes = {name: table.c[name] + statement.excluded[name] for name in adds}
            statement = statement.on_conflict_do_update(index_elements=list(key), set_=changes)
        else:
            statement = statement.on_conflict_do_nothing()
        await session.execute(statement)
