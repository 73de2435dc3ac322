"""What a period came to, beside the one before: sums, a series, and who and what had most of it.

From the roll-ups alone. What is over for hours is read once and remembered for an hour
(`Memory`): a page over a month then reads today's buckets and no more.
"""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from sqlalchemy import BigInteger, ColumnElement, case, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import LatencyRollup, UsageDimension, UsageRollup
from aieye.ledger.book import CLIENT_LEFT
from aieye.ledger.periods import Cut
from aieye.ledger.queries.usage_sums import DIMENSIONS, UsageFilters, conditions_of
from aieye.ledger.rollups import HOUR, MINUTE, Span, bucket_of, percentile

Measure = Literal["cost", "requests", "tokens"]
Value = int | str
TOPS = ("model", "token", "user", "provider", "pipeline")
MOST_LAYERS = 8
# A call is counted in the minute in which it began, when it ends: long ones come late.
CLOSED_SECONDS = 2 * HOUR
REMEMBERED_SECONDS = 3_600
_MOST_REMEMBERED = 256


@dataclass(slots=True)
class Amounts:
    """What calls add up to. `asked` of them asked the cache and `hits` were answered by it (shared
    answers too); `cost_nano` leaves out the `unpriced` ones."""

    calls: int = 0
    errors: int = 0
    hits: int = 0
    asked: int = 0
    unpriced: int = 0
    cost_nano: int = 0
    saved_nano: int = 0
    tokens_input: int = 0
    tokens_output: int = 0

    def add(self, amounts: Amounts) -> None:
        # Not by a loop over names: a page adds up thousands.
        self.calls += amounts.calls
        self.errors += amounts.errors
        self.hits += amounts.hits
        self.asked += amounts.asked
        self.unpriced += amounts.unpriced
        self.cost_nano += amounts.cost_nano
        self.saved_nano += amounts.saved_nano
        self.tokens_input += amounts.tokens_input
        self.tokens_output += amounts.tokens_output

    @property
    def tokens(self) -> int:
        return self.tokens_input + self.tokens_output

    @property
    def hit_rate(self) -> float | None:
        return self.hits / self.asked if self.asked else None

    @property
    def known_cost_nano(self) -> int | None:
        """The cost; None when it is known of no call, which is not the same as nothing."""
        return None if 0 < self.calls == self.unpriced else self.cost_nano

    def by(self, measure: Measure) -> int:
        return {"cost": self.cost_nano, "requests": self.calls, "tokens": self.tokens}[measure]


Bins = dict[int, int]


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
    """A period. `tops` has, for each dimension, its values with the most first."""

    cut: Cut
    whole: Whole
    before: Whole
    bars: Sequence[Bar]
    layers: Sequence[Layer]
    tops: Mapping[str, Sequence[tuple[Value, Amounts]]]


@dataclass(slots=True)
class _Share:
    """What one span adds to the sums, by each value of each dimension."""

    whole: Amounts = field(default_factory=Amounts)
    bins: Bins = field(default_factory=dict)
    tops: dict[str, dict[Value, Amounts]] = field(
        default_factory=lambda: {name: defaultdict(Amounts) for name in TOPS}
    )


@dataclass(slots=True)
class _Course:
    """What one span adds to the series: by bar and layer, and latencies by bar."""

    layers: dict[tuple[int, Value | None], Amounts]
    bins: dict[int, Bins]


class Memory:
    """What closed spans came to, for `REMEMBERED_SECONDS`. Not to be shared between threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[float, Any]] = OrderedDict()

    def find(self, key: Any) -> Any:
        expires_at, found = self._kept.get(key, (0.0, None))
        return found if expires_at > time.monotonic() else None

    def keep(self, key: Any, found: Any) -> None:
        self._kept[key] = (time.monotonic() + REMEMBERED_SECONDS, found)
        self._kept.move_to_end(key)
        while len(self._kept) > _MOST_REMEMBERED:
            self._kept.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Question:
    session: AsyncSession
    memory: Memory
    filters: UsageFilters
    owner_id: int | None
    now: int

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        return list(conditions_of(self.filters, self.owner_id))

    async def answer(self, read: Any, spans: Sequence[Span], *more: Any) -> list[Any]:
        """What `read` says of each span, from memory where it is there."""
        answers = []
        for span in self._parted(spans):
            key = None
            if span.grain > MINUTE and span.stop <= self.now - CLOSED_SECONDS:
                key = (read, span, self.filters, self.owner_id, *more)
            found = None if key is None else self.memory.find(key)
            if found is None:
                found = await read(self, span, *more)
                if key is not None:
                    self.memory.keep(key, found)
            answers.append(found)
        return answers

    def _parted(self, spans: Sequence[Span]) -> list[Span]:
        """The spans, the one that is not over yet in two: what is closed, and the rest."""
        parts = []
        for span in spans:
            closed = bucket_of(self.now - CLOSED_SECONDS, span.grain)
            if span.start < closed < span.stop:
                parts.append(Span(span.grain, span.start, closed))
                span = Span(span.grain, closed, span.stop)  # noqa: PLW2901 - what is left of it
            parts.append(span)
        return parts


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
    question = _Question(session, memory, filters, owner_id, now)
    share = _together(await question.answer(_share, this.spans))
    tops = {name: _ranked(values, measure) for name, values in share.tops.items()}
    largest = tuple(value for value, _ in tops[stack_by][:MOST_LAYERS])
    courses = await question.answer(_course, this.spans, this.step, stack_by, largest)
    bars, layers = _drawn(this, courses, largest)
    former = _together(await question.answer(_share, before.spans))
    return Overview(this, _whole(share), _whole(former), bars, layers, tops)


async def _share(question: _Question, span: Span) -> _Share:
    sums = (
        select(
            UsageRollup.dimension_id,
            *(func.sum(getattr(UsageRollup, name)).label(name) for name in _STORED),
        )
        .where(*_range(UsageRollup, span), *_of(UsageRollup, question.conditions))
        .group_by(UsageRollup.dimension_id)
        .subquery()
    )
    of = UsageDimension
    statement = select(
        *(DIMENSIONS[name] for name in TOPS), of.status, of.cache, *(sums.c[n] for n in _STORED)
    ).join(sums, sums.c.dimension_id == of.id)
    share = _Share()
    for row in await question.session.execute(statement):
        *values, status, cache, calls, unpriced, cost, saved, asked, said = row
        calls = int(calls)
        is_hit = cache in _HITS
        amounts = Amounts(
            calls,
            calls if status >= 400 and status != CLIENT_LEFT else 0,
            calls if is_hit else 0,
            calls if is_hit or cache == "miss" else 0,
            int(unpriced), int(cost), int(saved), int(asked), int(said),
        )  # fmt: skip
        share.whole.add(amounts)
        for name, value in zip(TOPS, values, strict=True):
            share.tops[name][value].add(amounts)
    counts = (
        select(LatencyRollup.bin, func.sum(LatencyRollup.calls))
        .where(*_range(LatencyRollup, span), *_of(LatencyRollup, question.conditions))
        .group_by(LatencyRollup.bin)
    )
    share.bins = {number: int(n) for number, n in await question.session.execute(counts)}
    return share


async def _course(
    question: _Question, span: Span, step: int, stack_by: str, largest: tuple[Value, ...]
) -> _Course:
    column = DIMENSIONS[stack_by]
    layer = case((column.in_(largest), column), else_=None) if largest else literal_column("NULL")
    at = _bar(UsageRollup, span, step)
    of, calls = UsageDimension, UsageRollup.calls
    is_error = (of.status >= 400) & (of.status != CLIENT_LEFT)
    is_hit = of.cache.in_(_HITS)
    statement = (
        select(
            at.label("at"),
            layer.label("layer"),
            func.sum(calls),
            func.sum(case((is_error, calls), else_=0)),
            func.sum(case((is_hit, calls), else_=0)),
            func.sum(case((or_(is_hit, of.cache == "miss"), calls), else_=0)),
            *(func.sum(getattr(UsageRollup, name)) for name in _STORED[1:]),
        )
        .join(of, of.id == UsageRollup.dimension_id)
        .where(*_range(UsageRollup, span), *question.conditions)
        .group_by(literal_column("1"), literal_column("2"))
    )
    layers: dict[tuple[int, Value | None], Amounts] = {}
    for moment, value, *numbers in await question.session.execute(statement):
        layers[int(moment), value] = Amounts(*(int(number) for number in numbers))
    at = _bar(LatencyRollup, span, step)
    counts = (
        select(at, LatencyRollup.bin, func.sum(LatencyRollup.calls))
        .where(*_range(LatencyRollup, span), *_of(LatencyRollup, question.conditions))
        .group_by(literal_column("1"), literal_column("2"))
    )
    bins: dict[int, Bins] = defaultdict(dict)
    for moment, number, count in await question.session.execute(counts):
        bins[int(moment)][number] = int(count)
    return _Course(layers, bins)


# As they are summed up in the database; the others depend on the dimension.
_STORED = ("calls", "unpriced", "cost_nano", "saved_nano", "tokens_input", "tokens_output")
_HITS = ("hit", "shared")


def _range(table: type[UsageRollup | LatencyRollup], span: Span) -> tuple[ColumnElement[bool], ...]:
    return (table.grain == span.grain, table.bucket >= span.start, table.bucket < span.stop)


def _of(
    table: type[UsageRollup | LatencyRollup], conditions: Sequence[ColumnElement[bool]]
) -> Sequence[ColumnElement[bool]]:
    """The conditions on dimensions as one on the roll-ups, none where there are none."""
    if not conditions:
        return ()
    return (table.dimension_id.in_(select(UsageDimension.id).where(*conditions)),)


def _bar(table: type[UsageRollup | LatencyRollup], span: Span, step: int) -> ColumnElement[Any]:
    if span.grain == step:
        return table.bucket.expression
    return table.bucket - table.bucket % literal_column(str(step), BigInteger)


def _together(shares: Sequence[_Share]) -> _Share:
    whole = _Share()
    for share in shares:
        whole.whole.add(share.whole)
        _add_bins(whole.bins, share.bins)
        for name, values in share.tops.items():
            for value, amounts in values.items():
                whole.tops[name][value].add(amounts)
    return whole


def _drawn(
    this: Cut, courses: Sequence[_Course], largest: tuple[Value, ...]
) -> tuple[list[Bar], list[Layer]]:
    places = {at: place for place, at in enumerate(this.bars)}
    values: tuple[Value | None, ...] = (*largest, None)
    layers = {value: [Amounts() for _ in places] for value in values}
    sums = [Amounts() for _ in places]
    bins: list[Bins] = [{} for _ in places]
    for course in courses:
        for (at, value), amounts in course.layers.items():
            layers[value][places[at]].add(amounts)
            sums[places[at]].add(amounts)
        for at, counts in course.bins.items():
            _add_bins(bins[places[at]], counts)
    bars = [
        Bar(at, sums[place], percentile(bins[place], 0.5), percentile(bins[place], 0.95))
        for at, place in places.items()
    ]
    found = [Layer(value, row, _sum(row)) for value, row in layers.items()]
    return bars, [layer for layer in found if layer.total.calls]


def _ranked(values: Mapping[Value, Amounts], measure: Measure) -> list[tuple[Value, Amounts]]:
    """By falling measure; what calls do not have (0 and "") is no value of theirs."""
    named = [(value, amounts) for value, amounts in values.items() if value and amounts.calls]
    return sorted(named, key=lambda item: (-item[1].by(measure), -item[1].calls, str(item[0])))


def _whole(share: _Share) -> Whole:
    return Whole(share.whole, percentile(share.bins, 0.5), percentile(share.bins, 0.95))


def _sum(row: Sequence[Amounts]) -> Amounts:
    total = Amounts()
    for amounts in row:
        total.add(amounts)
    return total


def _add_bins(bins: Bins, more: Mapping[int, int]) -> None:
    for number, calls in more.items():
        bins[number] = bins.get(number, 0) + calls
