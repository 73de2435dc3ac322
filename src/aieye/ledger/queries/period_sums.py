"""What a period came to, out of the roll-ups: who and what had it, over time, how long calls took.

What is over for hours is read once and remembered (`Memory`), in blocks whose ends do not move with
the clock: a page over a month then reads today's buckets and no more.
"""

from __future__ import annotations

import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from sqlalchemy import BigInteger, ColumnElement, case, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.snapshot import DEMO_ID
from aieye.db.tables import LatencyRollup, UsageDimension, UsageRollup
from aieye.ledger.book import CLIENT_LEFT
from aieye.ledger.queries.usage_sums import DIMENSIONS, UsageFilters, conditions_of
from aieye.ledger.rollups import DAY, HOUR, MINUTE, Span, bucket_of

Measure = Literal["cost", "requests", "tokens"]
Value = int | str
Answer = TypeVar("Answer")
TOPS = ("model", "token", "user", "provider", "pipeline")
# A call is counted in the minute in which it began, when it ends: long ones come late.
CLOSED_SECONDS = 2 * HOUR
REMEMBERED_SECONDS = 3_600
# How many sums are remembered at most: about 350 bytes each.
MOST_REMEMBERED = 60_000
# What is remembered of each grain, as one; a longer time has longer ones.
_BLOCKS = {MINUTE: HOUR, HOUR: DAY, DAY: 8 * DAY}
_MOST_BLOCKS = 16
# As they are summed up in the database; the others depend on the dimension.
_STORED = ("calls", "unpriced", "cost_nano", "saved_nano", "tokens_input", "tokens_output")
_HITS = ("hit", "shared")
# Interrupted, or failed in AI-Eye itself: without a provider too, which is written as the simulated one is.
_LOST = (0, 500)
# Bins are numbered below this.
_BINS = 32


@dataclass(slots=True)
class Amounts:
    """What calls add up to. `asked` of them asked the cache and `hits` were answered by it (shared
    answers too); `cost_nano` leaves out the `unpriced` ones, among which are none that were simulated:
    they have no cost, and miss no price."""

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


def add_up(parts: Iterable[Amounts]) -> Amounts:
    """The sum of all."""
    total = Amounts()
    for amounts in parts:
        total.add(amounts)
    return total


Bins = dict[int, int]


@dataclass(slots=True)
class Share:
    """What a time came to as one, and by each value of each dimension."""

    whole: Amounts = field(default_factory=Amounts)
    tops: dict[str, dict[Value, Amounts]] = field(
        default_factory=lambda: {name: defaultdict(Amounts) for name in TOPS}
    )

    def add(self, other: Share) -> None:
        self.whole.add(other.whole)
        for name, values in other.tops.items():
            kept = self.tops[name]
            for value, amounts in values.items():
                kept[value].add(amounts)

    @property
    def weight(self) -> int:
        return 1 + sum(map(len, self.tops.values()))


# By the bar's beginning and the value of what bars are stacked by.
Layers = dict[tuple[int, Value | None], Amounts]
# Calls a latency bin, by the bar's beginning.
Latencies = dict[int, Bins]


class Memory:
    """What closed blocks came to, for `REMEMBERED_SECONDS`. Not to be shared between threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Any, tuple[float, Any, int]] = OrderedDict()
        self._weight = 0

    def find(self, key: Any) -> Any:
        expires_at, found, _ = self._kept.get(key, (0.0, None, 0))
        return found if expires_at > time.monotonic() else None

    def keep(self, key: Any, found: Any, weight: int = 1) -> None:
        _, _, former = self._kept.pop(key, (0.0, None, 0))
        self._kept[key] = (time.monotonic() + REMEMBERED_SECONDS, found, weight)
        self._weight += weight - former
        while self._weight > MOST_REMEMBERED:
            _, (_, _, gone) = self._kept.popitem(last=False)
            self._weight -= gone


@dataclass(frozen=True, slots=True)
class Question:
    """Whose calls are asked about, as of `now` (epoch seconds); `owner_id` None is everybody's."""

    session: AsyncSession
    memory: Memory
    filters: UsageFilters
    owner_id: int | None
    now: int

    async def share(self, spans: Sequence[Span]) -> Share:
        """The sums of `spans`, by each value of `TOPS`."""
        together = Share()
        for share in await self._answers(_share, spans, weigh=lambda one: one.weight):
            together.add(share)
        return together

    async def whole(self, spans: Sequence[Span]) -> Amounts:
        """The sums of `spans` alone."""
        together = Amounts()
        for amounts in await self._answers(_whole, spans, weigh=lambda _: 1):
            together.add(amounts)
        return together

    async def layers(
        self, spans: Sequence[Span], step: int, stack_by: str, among: frozenset[Value] | None
    ) -> Layers:
        """The sums by bar of `step` seconds and value of `stack_by`; values that are not `among`
        those given are None together."""
        together: Layers = defaultdict(Amounts)
        for layers in await self._answers(_layers, spans, step, stack_by, among, weigh=len):
            for place, amounts in layers.items():
                together[place].add(amounts)
        return together

    async def latencies(self, spans: Sequence[Span], step: int | None = None) -> Latencies:
        """Calls a latency bin, by bar of `step` seconds, under 0 without one."""
        together: Latencies = defaultdict(dict)
        for latencies in await self._answers(_latencies, spans, step, weigh=len):
            for at, bins in latencies.items():
                add_bins(together[at], bins)
        return together

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        return list(conditions_of(self.filters, self.owner_id))

    async def _answers(
        self,
        read: Callable[..., Awaitable[Answer]],
        spans: Sequence[Span],
        *more: Any,
        weigh: Callable[[Answer], int],
    ) -> list[Answer]:
        """What `read` says of each part of the spans, from memory where it is there."""
        answers = []
        for part, is_closed in self._parts(spans):
            key = (read, part, self.filters, self.owner_id, *more) if is_closed else None
            found: Answer | None = None if key is None else self.memory.find(key)
            if found is None:
                found = await read(self, part, *more)
                if key is not None:
                    self.memory.keep(key, found, weigh(found))
            answers.append(found)
        return answers

    def _parts(self, spans: Sequence[Span]) -> Iterator[tuple[Span, bool]]:
        """The spans: what of each is closed in blocks, which are remembered, and the rest as one."""
        for span in spans:
            closed = bucket_of(self.now - CLOSED_SECONDS, span.grain)
            block = _BLOCKS[span.grain]
            block *= -(-(span.stop - span.start) // (block * _MOST_BLOCKS))
            start = span.start
            while start < (end := min(span.stop, closed, bucket_of(start, block) + block)):
                # The first and the last minutes move with the clock.
                is_kept = span.grain > MINUTE or end - start == block
                yield Span(span.grain, start, end), is_kept
                start = end
            if start < span.stop:
                yield Span(span.grain, start, span.stop), False


async def _share(question: Question, span: Span) -> Share:
    names = [DIMENSIONS[name] for name in TOPS]
    sums = _by_dimension(question, span)
    statement = (
        select(*names, *_amounts_of(sums.c))
        .join(sums, sums.c.dimension_id == UsageDimension.id)
        .group_by(*names)
    )
    # What goes together is added up together first: there may be thousands of rows.
    holders: dict[tuple[int, int], Amounts] = defaultdict(Amounts)
    answered: dict[tuple[str, int], Amounts] = defaultdict(Amounts)
    share = Share()
    for row in await question.session.execute(statement):
        model, token, user, provider, pipeline, *numbers = row
        amounts = Amounts(*map(int, numbers))
        holders[token, user].add(amounts)
        answered[model, provider].add(amounts)
        share.tops["pipeline"][pipeline].add(amounts)
    for (token, user), amounts in holders.items():
        share.tops["token"][token].add(amounts)
        share.tops["user"][user].add(amounts)
    for (model, provider), amounts in answered.items():
        share.tops["model"][model].add(amounts)
        share.tops["provider"][provider].add(amounts)
    for amounts in share.tops["provider"].values():
        share.whole.add(amounts)
    return share


async def _whole(question: Question, span: Span) -> Amounts:
    sums = _by_dimension(question, span)
    statement = select(*_amounts_of(sums.c)).join(
        UsageDimension, UsageDimension.id == sums.c.dimension_id
    )
    row = (await question.session.execute(statement)).one()
    return Amounts(*(int(number or 0) for number in row))


def _amounts_of(columns: Any) -> list[ColumnElement[Any]]:
    """The fields of `Amounts` in their order, summed up from stored `columns` and dimensions."""
    of, calls = UsageDimension, columns.calls
    is_error = (of.status >= 400) & (of.status != CLIENT_LEFT)
    is_hit = of.cache.in_(_HITS)
    counted = (is_error, is_hit, or_(is_hit, of.cache == "miss"))
    is_simulated = (of.provider_id == DEMO_ID) & of.status.not_in(_LOST)
    return [
        func.sum(calls),
        *(func.sum(case((one, calls), else_=0)) for one in counted),
        func.sum(case((is_simulated, 0), else_=columns.unpriced)),
        *(func.sum(getattr(columns, name)) for name in _STORED[2:]),
    ]


def _by_dimension(question: Question, span: Span) -> Any:
    return (
        select(
            UsageRollup.dimension_id,
            *(func.sum(getattr(UsageRollup, name)).label(name) for name in _STORED),
        )
        .where(*_range(UsageRollup, span), *_of(UsageRollup, question.conditions))
        .group_by(UsageRollup.dimension_id)
        .subquery()
    )


async def _layers(
    question: Question, span: Span, step: int, stack_by: str, among: frozenset[Value] | None
) -> Layers:
    column: Any = DIMENSIONS[stack_by]
    if among is not None:
        # An empty list has no type of its own in PostgreSQL.
        is_among = column.in_(sorted(among, key=str))
        column = case((is_among, column), else_=None) if among else literal_column("NULL")
    statement = (
        select(
            _bar(UsageRollup, span, step).label("at"), column.label("layer"),
            *_amounts_of(UsageRollup),
        )
        .join(UsageDimension, UsageDimension.id == UsageRollup.dimension_id)
        .where(*_range(UsageRollup, span), *question.conditions)
        .group_by(literal_column("1"), literal_column("2"))
    )  # fmt: skip
    return {
        (int(at), value): Amounts(*map(int, numbers))
        for at, value, *numbers in await question.session.execute(statement)
    }


async def _latencies(question: Question, span: Span, step: int | None) -> Latencies:
    at: ColumnElement[Any] = literal_column("0", BigInteger)
    if step is not None:
        at = _bar(LatencyRollup, span, step)
    # One number of both is sorted in half the time of two.
    place = at * literal_column(str(_BINS), BigInteger) + LatencyRollup.bin
    counts = (
        select(place, func.sum(LatencyRollup.calls))
        .where(*_range(LatencyRollup, span), *_of(LatencyRollup, question.conditions))
        .group_by(literal_column("1"))
    )
    bins: Latencies = defaultdict(dict)
    for number, calls in await question.session.execute(counts):
        bins[number // _BINS][number % _BINS] = int(calls)
    return bins


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


def add_bins(bins: Bins, more: Mapping[int, int]) -> None:
    """Add calls a latency bin to others."""
    for number, calls in more.items():
        bins[number] = bins.get(number, 0) + calls
