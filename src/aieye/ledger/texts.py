"""The ledger's texts leave it when their days are over; one that a cache entry still gives is moved
into the entry first (docs/adr/0008).

What is large is read and unpacked outside of the transaction that moves it. Several processes may
do this at once: each takes what no other has taken.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.chunks import within
from aieye.db.engine import Database
from aieye.db.tables import CacheEntry, CallBody
from aieye.ledger.queries.call_filters import id_at
from aieye.telemetry.loggers import get_logger

log = get_logger()

CHUNK_ROWS = 500
# What one transaction removes and moves: SQLite writes it in a tenth of a second or so.
CHUNK_BYTES = 4 * 2**20
# Between two chunks, so that whoever waits for the write lock gets it.
_PAUSE_SECONDS = 0.01

Texts = tuple[bytes, bytes]


async def remove_texts(database: Database, until: datetime) -> int:
    """Remove the texts of calls that began before `until`, to the millisecond; how many.

    Raises `DatabaseUnavailable`.
    """
    removed = 0
    while True:
        async with database.read() as session:
            ids = await _oldest(session, until)
            packed = await _given(session, ids)
        if not ids:
            return removed
        # What is left of a chunk because it is too much is the beginning of the next.
        texts = await asyncio.to_thread(_unpacked, packed, CHUNK_BYTES) if packed else {}
        async with database.write() as session:
            removed += await _remove(session, ids, texts)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _oldest(session: AsyncSession, until: datetime) -> list[str]:
    sizes = [
        func.coalesce(func.length(column), 0) for column in (CallBody.request, CallBody.response)
    ]
    statement = (
        select(CallBody.id, sizes[0] + sizes[1])
        .where(CallBody.id < id_at(until))
        .order_by(CallBody.id)
        .limit(CHUNK_ROWS)
    )
    return within(((id_, size) for id_, size in await session.execute(statement)), CHUNK_BYTES)


async def _given(session: AsyncSession, ids: Sequence[str]) -> Sequence[Any]:
    """The texts among them that cache entries give, as they lie there."""
    statement = select(
        CallBody.id, CallBody.is_compressed, CallBody.request, CallBody.response
    ).where(CallBody.id.in_(ids), exists().where(CacheEntry.body_id == CallBody.id))
    return (await session.execute(statement)).all()


def _unpacked(rows: Iterable[Any], most_bytes: int) -> dict[str, Texts]:
    """Requests and responses by their row's id: of the first row, and more up to `most_bytes`."""
    texts: dict[str, Texts] = {}
    for row in rows:
        request, response = row.request or b"", row.response or b""
        if row.is_compressed:
            try:
                request = zlib.decompress(request) if request else b""
                response = zlib.decompress(response) if response else b""
            except zlib.error:
                # The entry could not give it before, either: its checksum says so.
                log.warning("text_damaged", id=row.id)
                request = response = b""
        most_bytes -= len(request) + len(response)
        if texts and most_bytes < 0:
            break
        texts[row.id] = request, response
    return texts


async def _remove(session: AsyncSession, ids: Sequence[str], texts: dict[str, Texts]) -> int:
    """Remove these rows, except where an entry gives one that is not among `texts`; how many."""
    mine = (
        await session.scalars(
            select(CallBody.id).where(CallBody.id.in_(ids)).with_for_update(skip_locked=True)
        )
    ).all()
    entries = await session.execute(
        select(CacheEntry.id, CacheEntry.body_id)
        .where(CacheEntry.body_id.in_([id_ for id_ in mine if id_ in texts]))
        .with_for_update(skip_locked=True)
    )
    moved = [
        {"of": entry_id, "asked": texts[body_id][0], "answered": texts[body_id][1]}
        for entry_id, body_id in entries
        if body_id is not None
    ]
    if moved:
        await session.execute(_MOVE, moved)
    result = await session.execute(
        delete(CallBody)
        .where(CallBody.id.in_(mine), ~exists().where(CacheEntry.body_id == CallBody.id))
        .execution_options(synchronize_session=False)
    )
    return int(result.rowcount)  # type: ignore[attr-defined] # a DML result has it


_MOVE = (
    update(CacheEntry.__table__)  # type: ignore[arg-type] # declared as FromClause
    .where(CacheEntry.id == bindparam("of"))
    .values(request=bindparam("asked"), body=bindparam("answered"), body_id=None)
)
