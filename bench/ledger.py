"""What the gateway has booked: the proof that hits were hits, misses misses, and all kept."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from aieye.db.tables import Call
from bench.processes import NotMeasured

_WAIT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Booked:
    """Rows since a mark: by cache state and status; of those with 200, the ones with a fault."""

    rows: Counter[tuple[str, int | None]]
    unpriced: int
    failed: int

    @property
    def total(self) -> int:
        return self.rows.total()


def mark() -> str:
    """A point in time, in the form of the calls' ids: all later calls have greater ones."""
    time.sleep(0.002)
    return f"{time.time_ns() // 1_000_000:012x}"


def booked(url: str, since: str) -> Booked:
    """What has been booked since a mark."""
    return asyncio.run(_booked(url, since))


async def _booked(url: str, since: str) -> Booked:
    engine = create_async_engine(url, poolclass=NullPool)
    grouped = (
        select(
            Call.cache,
            Call.status,
            func.count(),
            func.count(Call.cost_nano),
            func.count(Call.error),
        )
        .where(Call.id >= since)
        .group_by(Call.cache, Call.status)
    )
    try:
        async with engine.connect() as connection:
            rows = (await connection.execute(grouped)).all()
    finally:
        await engine.dispose()
    counts: Counter[tuple[str, int | None]] = Counter()
    for cache, status, calls, *_ in rows:
        counts[cache, status] = calls
    good = [row for row in rows if row[1] == 200]
    return Booked(counts, sum(row[2] - row[3] for row in good), sum(row[4] for row in good))


def check_booked(url: str, since: str, *, cache: str, calls: int, in_flight: int) -> None:
    """See that the calls since a mark are all there, with that cache state and with a price.

    `in_flight` calls may have been cut off by the end of the load. Raises `NotMeasured`.
    """
    deadline = time.monotonic() + _WAIT_SECONDS
    found = booked(url, since)
    while found.total < calls and time.monotonic() < deadline:
        time.sleep(0.1)
        found = booked(url, since)
    good = found.rows[cache, 200]
    if not calls <= found.total <= calls + in_flight or found.total - good > in_flight:
        raise NotMeasured(
            f"{calls} calls were answered that should have been booked as {cache}, and at most "
            f"{in_flight} more were cut off; the ledger has {dict(found.rows)}."
        )
    if found.unpriced or found.failed:
        raise NotMeasured(
            f"{found.unpriced} calls were booked without a price, {found.failed} broke off."
        )
