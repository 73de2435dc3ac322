"""What a period came to, beside the one before: sums, a series, and who and what had most of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.ledger.periods import Cut
from aieye.ledger.queries.period_sums import (
    Amounts,
    Bins,
    Latencies,
    Layers,
    Measure,
    Memory,
    Question,
    Value,
    add_up,
)
from aieye.ledger.queries.usage_sums import UsageFilters
from aieye.ledger.rollups import cover, percentile

MOST_LAYERS = 8
# Of so many values each is read, and remembered, by itself; of more only those that are shown.
MOST_VALUES = 200


@dataclass(frozen=True, slots=True)
class Bar:
    """One bucket of the series; latencies in milliseconds, None without calls."""

    at: int
    amounts: Amounts
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Layer:
    """One value of what the series is stacked by, None for all others together, bar by bar."""

    value: Value | None
    amounts: Sequence[Amounts]
    total: Amounts


@dataclass(frozen=True, slots=True)
class Whole:
    """A period as one."""

    amounts: Amounts
    p50_ms: float | None
    p95_ms: float | None


@dataclass(frozen=True, slots=True)
class Overview:
    """A period. `tops` has, for each dimension, its values with the most first; `without`, what the
    calls came to that have none."""

    cut: Cut
    whole: Whole
    before: Whole
    bars: Sequence[Bar]
    layers: Sequence[Layer]
    tops: Mapping[str, Sequence[tuple[Value, Amounts]]]
    without: Mapping[str, Amounts]


async def overview(
    session: AsyncSession,
    memory: Memory,
    *,
    this: Cut,
    before: Cut,
    stack_by: str,
    measure: Measure,
    filters: UsageFilters,
    owner_id: int | None,
    now: int,
) -> Overview:
    """The period `this` and the one `before` it, as of `now` (epoch seconds)."""
    question = Question(session, memory, filters, owner_id, now)
    # Sums are read from the longest buckets there are, the series from those that its bars need.
    share = await question.share(cover(this.since, this.until))
    tops = {name: _ranked(values, measure) for name, values in share.tops.items()}
    values = [value for value, _ in tops[stack_by]]
    largest = tuple(values[:MOST_LAYERS])
    among = None if len(values) <= MOST_VALUES else frozenset(largest)
    found = await question.layers(this.spans, this.step, stack_by, among)
    latencies = await question.latencies(this.spans, this.step)
    bars, layers = _drawn(this, found, latencies, largest)
    former = cover(before.since, before.until)
    return Overview(
        this,
        _whole(share.whole, latencies.together),
        _whole(await question.whole(former), (await question.latencies(former)).together),
        bars,
        layers,
        tops,
        {name: _without(values) for name, values in share.tops.items()},
    )


def _drawn(
    this: Cut, found: Sequence[Layers], latencies: Latencies, largest: tuple[Value, ...]
) -> tuple[list[Bar], list[Layer]]:
    places = {at: place for place, at in enumerate(this.bars)}
    sums = _row(places, [layers.sums for layers in found])
    rows: list[tuple[Value | None, list[Amounts]]] = [
        (value, _row(places, [layers.values.get(value, {}) for layers in found]))
        for value in largest
    ]
    rows.append((None, _left_over(sums, [row for _, row in rows])))
    bars = []
    for at, place in places.items():
        bins = latencies.bars.get(at, {})
        bars.append(Bar(at, sums[place], percentile(bins, 0.5), percentile(bins, 0.95)))
    drawn = [Layer(value, row, add_up(row)) for value, row in rows]
    return bars, [layer for layer in drawn if layer.total.calls]


def _row(places: Mapping[int, int], parts: Sequence[Mapping[int, Amounts]]) -> list[Amounts]:
    row = [Amounts() for _ in places]
    for part in parts:
        for at, amounts in part.items():
            row[places[at]].add(amounts)
    return row


def _left_over(sums: Sequence[Amounts], rows: Sequence[Sequence[Amounts]]) -> list[Amounts]:
    """What the sums of bars have more than `rows`, bar by bar."""
    left = []
    for place, amounts in enumerate(sums):
        rest = Amounts()
        rest.add(amounts)
        for row in rows:
            rest.subtract(row[place])
        left.append(rest)
    return left


def _ranked(values: Mapping[Value, Amounts], measure: Measure) -> list[tuple[Value, Amounts]]:
    """By falling measure; what calls do not have (0 and "") is no value of theirs."""
    named = [(value, amounts) for value, amounts in values.items() if value and amounts.calls]
    return sorted(named, key=lambda item: (-item[1].by(measure), -item[1].calls, str(item[0])))


def _without(values: Mapping[Value, Amounts]) -> Amounts:
    return add_up([amounts for value, amounts in values.items() if not value])


def _whole(amounts: Amounts, bins: Bins) -> Whole:
    return Whole(amounts, percentile(bins, 0.5), percentile(bins, 0.95))
