"""What is not kept for ever, and its removal: in small transactions, so that no writer waits long.

Rows of the ledger, of runs and their steps, and the sums by hour and day stay.
`AIEYE_LEDGER_RETENTION_DAYS` counts from the beginning of the call or run whose text it is; with 0
days it is gone at the next pruning, within the hour (to keep none at all there is
`AIEYE_LEDGER_BODIES=off`). Hits on an old cache entry then show no text.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    and_,
    delete,
    exists,
    func,
    literal,
    select,
    tuple_,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute

from aieye.db.chunks import within
from aieye.db.engine import Database
from aieye.db.tables import (
    Base,
    CacheEntry,
    Call,
    CallBody,
    Execution,
    IdempotentCall,
    Instance,
    LatencyRollup,
    LoginAttempt,
    Session,
    UsageRollup,
)
from aieye.db.types import now, to_micros
from aieye.errors import AieyeError
from aieye.ledger.rollups import HOUR, MINUTE, MINUTES_KEPT_SECONDS, bucket_of
from aieye.ledger.run_texts import remove_run_texts
from aieye.ledger.texts import remove_texts
from aieye.settings import Settings
from aieye.telemetry.loggers import get_logger

log = get_logger()

# What one transaction removes.
CHUNK_ROWS = 500
CHUNK_BYTES = 16 * 2**20
INTERVAL_SECONDS = 3600.0
ONE_DAY = timedelta(days=1)
# Between two chunks, so that whoever waits for the write lock gets it.
_PAUSE_SECONDS = 0.01

Key = tuple[InstrumentedAttribute[Any], ...]


@dataclass(frozen=True, slots=True)
class _Rule:
    """Which rows of a table go. `order` is an indexed column, so that finding them is cheap, and
    `size` what a row holds in bytes, where that may be much."""

    table: type[Base]
    key: Key
    order: InstrumentedAttribute[Any]
    is_old: ColumnElement[bool]
    size: SQLColumnExpression[int] = literal(0)  # noqa: RUF009 - immutable


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a pruning removed: how many rows, or texts of runs, by table."""

    at: datetime
    counts: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.counts.values())


async def keep_pruning(
    database: Database, settings: Settings, tell: Callable[[Pruned], None] = lambda _: None
) -> None:
    """Prune about every hour, for ever: a supervised task of the app. `tell` is told of each."""
    while True:
        try:
            pruned = Pruned(now(), await prune(database, settings))
            tell(pruned)
            if pruned.total:
                log.info("pruned", **pruned.counts)
        except (AieyeError, SQLAlchemyError) as error:
            log.warning("not_pruned", reason=type(error).__name__)
        # Not at the same moment in every process.
        await asyncio.sleep(INTERVAL_SECONDS * random.uniform(0.9, 1.1))  # noqa: S311 - no secret


async def prune(database: Database, settings: Settings) -> dict[str, int]:
    """Remove what is past its time; how many rows went or, of runs, lost their texts, by table.

    Raises `DatabaseUnavailable`.
    """
    moment = now()
    texts_until = moment - timedelta(days=settings.ledger_retention_days)
    counts = {
        CallBody.__tablename__: await remove_texts(database, texts_until),
        Execution.__tablename__: await remove_run_texts(database, texts_until),
    }
    for rule in _rules(moment):
        removed = 0
        while (count := await _remove_chunk(database, rule)) > 0:
            removed += count
            await asyncio.sleep(_PAUSE_SECONDS)
        counts[rule.table.__tablename__] = removed
    return counts


def _rules(moment: datetime) -> Iterator[_Rule]:
    day_ago = moment - ONE_DAY
    yield _Rule(
        IdempotentCall,
        (IdempotentCall.token_id, IdempotentCall.path, IdempotentCall.key),
        IdempotentCall.created_at,
        IdempotentCall.created_at <= day_ago,
        func.coalesce(func.length(IdempotentCall.body), 0),
    )
    # The totals of the cache follow by the database's own triggers, in the same transaction.
    yield _Rule(
        CacheEntry,
        (CacheEntry.id,),
        CacheEntry.expires_at,
        CacheEntry.expires_at <= moment,
        CacheEntry.size_bytes,
    )
    yield _Rule(Session, (Session.digest,), Session.expires_at, Session.expires_at <= moment)
    yield _Rule(
        LoginAttempt,
        (LoginAttempt.subject,),
        LoginAttempt.window_started_at,
        LoginAttempt.window_started_at <= day_ago,
    )
    yield _Rule(Instance, (Instance.id,), Instance.seen_at, _is_gone(day_ago))
    yield from _old_minutes(moment)


def _is_gone(day_ago: datetime) -> ColumnElement[bool]:
    """Dead for a day, and nothing it left open still has to be marked."""
    open_calls = exists().where(Call.state == "open", Call.instance_id == Instance.id)
    open_runs = exists().where(Execution.status == "running", Execution.instance_id == Instance.id)
    return and_(Instance.seen_at <= day_ago, ~open_calls, ~open_runs)


def _old_minutes(moment: datetime) -> Iterator[_Rule]:
    """Whole hours go, since a window that begins before them is read by the hour."""
    seconds = to_micros(moment) // 1_000_000 - MINUTES_KEPT_SECONDS
    for table in (UsageRollup, LatencyRollup):
        key: Key = (table.grain, table.bucket, table.dimension_id)
        is_old = and_(table.grain == MINUTE, table.bucket < bucket_of(seconds, HOUR))
        yield _Rule(
            table, key if table is UsageRollup else (*key, LatencyRollup.bin), table.bucket, is_old
        )


async def _remove_chunk(database: Database, rule: _Rule) -> int:
    # What another process is removing at this moment is left to it.
    chosen = (
        select(rule.size, *rule.key)
        .where(rule.is_old)
        .order_by(rule.order)
        .limit(CHUNK_ROWS)
        .with_for_update(skip_locked=True)
    )
    async with database.write() as session:
        rows = await session.execute(chosen)
        keys = within(((tuple(key), size) for size, *key in rows), CHUNK_BYTES)
        if keys:
            await session.execute(
                delete(rule.table)
                .where(tuple_(*rule.key).in_(keys))
                .execution_options(synchronize_session=False)
            )
        return len(keys)
