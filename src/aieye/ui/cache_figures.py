"""What the cache did in a time: its share of the calls, what it saved, over time and by model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.cache import browse
from aieye.cache.browse import EntryFilters
from aieye.db.tables import Token
from aieye.ledger.periods import Cut, before, cut
from aieye.ledger.queries import UsageFilters
from aieye.ledger.queries.overview import Bar, overview
from aieye.ledger.queries.period_sums import Amounts
from aieye.ui import charts
from aieye.ui.bars import bar_names, bar_ticks
from aieye.ui.charts import Series
from aieye.ui.ranges import Range
from aieye.ui.session import Visitor

MOST_MODELS = 8
_TEAL, _GREY = 2, 0


@dataclass(frozen=True, slots=True)
class OfModel:
    """What the cache did for one model."""

    name: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Room:
    """A tier: how much it holds of what it may."""

    word: str
    entries: int
    size_bytes: int
    most_bytes: int

    @property
    def share(self) -> float:
        return self.size_bytes / self.most_bytes if self.most_bytes else 0.0


async def figures(session: AsyncSession, visitor: Visitor, period: Range) -> dict[str, Any]:
    """What the template shows of the visitor's own calls, for administrators of all."""
    state, moment = visitor.state, int(visitor.now.timestamp())
    until = int(period.until.timestamp())
    this = cut(int(period.since.timestamp()), until, now=moment)
    found = await overview(
        session,
        state.periods,
        this=this,
        before=before(this, until, now=moment),
        stack_by="model",
        measure="requests",
        filters=UsageFilters(),
        owner_id=visitor.owner_id,
        now=moment,
    )
    models = [
        OfModel(str(value), amounts) for value, amounts in found.tops["model"] if amounts.asked
    ]
    models.sort(key=lambda one: (one.amounts.saved_nano, one.amounts.hits), reverse=True)
    return {
        "now_amounts": found.whole.amounts,
        "former": found.before.amounts,
        "sparks": _sparks(found.bars),
        "chart": _chart(found.bars, this, period),
        "by_model": models[:MOST_MODELS],
        "other_models": max(0, len(models) - MOST_MODELS),
        "rooms": await _rooms(session, visitor) if visitor.is_administrator else (),
        "settings": state.settings,
    }


async def namespaces(session: AsyncSession, visitor: Visitor) -> Sequence[str]:
    """Those that the visitor's tokens read in, for administrators those of all tokens."""
    statement = select(Token.cache_namespace).where(Token.deleted_at.is_(None)).distinct()
    if visitor.owner_id is not None:
        statement = statement.where(Token.user_id == visitor.owner_id)
    return sorted((await session.scalars(statement)).all())


async def _rooms(session: AsyncSession, visitor: Visitor) -> Sequence[Room]:
    stored = await browse.measure(session, EntryFilters())
    state = visitor.state
    memory, settings = state.cache.memory, state.settings
    return [
        Room("In the database", stored.entries, stored.size_bytes, settings.cache_store_bytes),
        Room("In this process' memory", len(memory), memory.size_bytes,
             settings.cache_memory_bytes),
    ]  # fmt: skip


def _sparks(bars: Sequence[Bar]) -> Mapping[str, Any]:
    lines: dict[str, list[float]] = {
        "rate": [bar.amounts.hit_rate or 0 for bar in bars],
        "saved": [bar.amounts.saved_nano for bar in bars],
        "hits": [bar.amounts.hits for bar in bars],
    }
    return {name: charts.sparkline(values) for name, values in lines.items()}


def _chart(bars: Sequence[Bar], this: Cut, period: Range) -> Mapping[str, Any]:
    """The arguments of `charts.stacked`: calls answered by the cache under those that were not."""
    hits = [float(bar.amounts.hits) for bar in bars]
    missed = [float(bar.amounts.asked - bar.amounts.hits) for bar in bars]
    return {
        "buckets": bar_names(this, period),
        "series": [
            Series("answered by the cache", hits, "/calls?cache=hit", _TEAL),
            Series("went to a provider", missed, "/calls?cache=miss", _GREY),
        ],
        "title": "Calls that asked the cache",
        "ticks": bar_ticks(this, period),
    }
