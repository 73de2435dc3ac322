"""What a period came to, out of the roll-ups: who and what had it, over time, how long calls took.

What is over for hours is read once and remembered (`Memory`), in blocks whose ends do not move with
the clock, and what is over for minutes for a moment: a page over a month then reads the last minutes
and no more.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    bindparam,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.snapshot import DEMO_ID
from aieye.db.tables import LatencyRollup, UsageDimension, UsageRollup
from aieye.ledger.book import CLIENT_LEFT
from aieye.ledger.queries.usage_sums import DIMENSIONS, UsageFilters, conditions_of
from aieye.ledger.rollups import DAY, HOUR, MINUTE, Span, bucket_of, round_up

Measure = Literal["cost", "requests", "tokens"]
Value = int | str
TOPS = ("model", "token", "user", "provider", "pipeline")
# A call is counted in the minute in which it began, when it ends: long ones come late. What is over for
# so long is remembered in blocks, and what is over for minutes only for a moment.
CLOSED_SECONDS = 2 * HOUR
RESTING_SECONDS = 5 * MINUTE
REMEMBERED_SECONDS = 3_600
MOMENT_SECONDS = 60
# By how long it is over: most calls take less than a quarter of an hour, and none takes a day.
_REMEMBERED = (
    (DAY, 12 * REMEMBERED_SECONDS),
    (CLOSED_SECONDS, REMEMBERED_SECONDS),
    (15 * MINUTE, 10 * MOMENT_SECONDS),
)
# How many sums are remembered at most: about 350 bytes each.
MOST_REMEMBERED = 60_000
# What is remembered of each grain, as one; a longer time has longer ones.
_BLOCKS = {MINUTE: HOUR, HOUR: DAY, DAY: 8 * DAY}
_SHORT_BLOCKS = {MINUTE: 10 * MINUTE, HOUR: HOUR, DAY: DAY}
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

    def subtract(self, amounts: Amounts) -> None:
        self.calls -= amounts.calls
        self.errors -= amounts.errors
        self.hits -= amounts.hits
        self.asked -= amounts.asked
        self.unpriced -= amounts.unpriced
        self.cost_nano -= amounts.cost_nano
        self.saved_nano -= amounts.saved_nano
        self.tokens_input -= amounts.tokens_input
        self.tokens_output -= amounts.tokens_output

    @property
    def weight(self) -> int:
        return 1

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


class Answer(Protocol):
    """What a time came to, in some form: that of a longer time is the sum of its parts'."""

    def add(self, other: Any, /) -> None: ...

    @property
    def weight(self) -> int: ...


A = TypeVar("A", bound=Answer)
K = TypeVar("K")


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
            _add_all(self.tops[name], values)

    @property
    def weight(self) -> int:
        return 1 + sum(map(len, self.tops.values()))


@dataclass(slots=True)
class Layers:
    """What a time came to by the bar's beginning: of each value of what bars are stacked by, and of
    all values."""

    sums: dict[int, Amounts] = field(default_factory=lambda: defaultdict(Amounts))
    values: dict[Value | None, dict[int, Amounts]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Amounts))
    )

    def add(self, other: Layers) -> None:
        _add_all(self.sums, other.sums)
        for value, bars in other.values.items():
            _add_all(self.values[value], bars)

    @property
    def weight(self) -> int:
        return len(self.sums) + sum(map(len, self.values.values()))


@dataclass(slots=True)
class Latencies:
    """Calls a latency bin, by the bar's beginning."""

    bars: dict[int, Bins] = field(default_factory=lambda: defaultdict(dict))

    def add(self, other: Latencies) -> None:
        for at, bins in other.bars.items():
            add_bins(self.bars[at], bins)

    @property
    def weight(self) -> int:
        return len(self.bars)

    @property
    def together(self) -> Bins:
        """Those of all bars."""
        together: Bins = {}
        for bins in self.bars.values():
            add_bins(together, bins)
        return together


class Memory:
    """What times that are over came to, for a time. Not to be shared between threads."""

    def __init__(self) -> None:
        # What is over is read by one at a time, so that nothing is read twice.
        self.reading = asyncio.Lock()
        self._kept: OrderedDict[Any, tuple[float, Any, int]] = OrderedDict()
        self._weight = 0

    def find(self, key: Any) -> Any:
        expires_at, found, _ = self._kept.get(key, (0.0, None, 0))
        return found if expires_at > time.monotonic() else None

    def keep(self, key: Any, found: Any, seconds: float, weight: int = 1) -> None:
        _, _, former = self._kept.pop(key, (0.0, None, 0))
        self._kept[key] = (time.monotonic() + seconds, found, weight)
        self._weight += weight - former
        if self._weight > MOST_REMEMBERED:
            self._forget_expired()
        while self._weight > MOST_REMEMBERED:
            _, (_, _, gone) = self._kept.popitem(last=False)
            self._weight -= gone

    def _forget_expired(self) -> None:
        """Sums of a minute ago make way before what was read with more work."""
        moment = time.monotonic()
        for key in [key for key, kept in self._kept.items() if kept[0] <= moment]:
            self._weight -= self._kept.pop(key)[2]


@dataclass(frozen=True, slots=True)
class _Parts:
    """A time in parts: what is over, and for how many seconds each part of it may be remembered, and
    what goes on."""

    over: dict[Span, int] = field(default_factory=dict)
    open: list[Span] = field(default_factory=list)


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
        return await self._sum(Share, _share, spans)

    async def whole(self, spans: Sequence[Span]) -> Amounts:
        """The sums of `spans` alone."""
        return await self._sum(Amounts, _whole, spans)

    async def layers(
        self, spans: Sequence[Span], step: int, stack_by: str, among: frozenset[Value] | None
    ) -> Sequence[Layers]:
        """The sums by bar of `step` seconds and value of `stack_by`, in parts to be added up: there
        may be thousands of values. Values that are not `among` those given are None together."""
        return await self._answers(Layers, _layers, spans, step, stack_by, among)

    async def latencies(self, spans: Sequence[Span], step: int | None = None) -> Latencies:
        """Calls a latency bin, by bar of `step` seconds, under 0 without one."""
        return await self._sum(Latencies, _latencies, spans, step)

    async def _sum(
        self, make: type[A], read: Callable[..., Awaitable[A]], spans: Sequence[Span], *more: Any
    ) -> A:
        return _sum_of(make, await self._answers(make, read, spans, *more))

    async def _answers(
        self, make: type[A], read: Callable[..., Awaitable[A]], spans: Sequence[Span], *more: Any
    ) -> Sequence[A]:
        """What `read` says of the spans: of what is over, from memory where it is there, and of what
        goes on."""
        parts = self._parts(spans)
        answers: list[A] = []
        if over := tuple(parts.over):
            # One for each length of time: its ends go with the clock.
            minutes = -(-(self.now - spans[0].start) // MINUTE)
            key = (minutes, read, self.filters, self.owner_id, *more)
            former, found = self.memory.find(key) or (None, make())
            if former != over:
                found = _sum_of(make, [
                    await self._remembered(read, part, seconds, *more)
                    for part, seconds in parts.over.items()
                ])  # fmt: skip
                self.memory.keep(key, (over, found), MOMENT_SECONDS / 2, found.weight)
            answers.append(found)
        return [*answers, *[await read(self, part, *more) for part in parts.open]]

    async def _remembered(
        self, read: Callable[..., Awaitable[A]], part: Span, seconds: int, *more: Any
    ) -> A:
        """What `read` says of a part, from memory where it is there; else remembered for `seconds`."""
        key = (part, read, self.filters, self.owner_id, *more)
        found: A | None = self.memory.find(key)
        if found is None:
            async with self.memory.reading:
                # Whoever was before may have read just this.
                found = self.memory.find(key)
                if found is None:
                    found = await read(self, part, *more)
                    self.memory.keep(key, found, seconds, found.weight)
        return found

    def _parts(self, spans: Sequence[Span]) -> _Parts:
        parts = _Parts()
        for span in self._without_today(spans):
            closed = bucket_of(self.now - CLOSED_SECONDS, span.grain)
            rests = bucket_of(self.now - RESTING_SECONDS, max(span.grain, RESTING_SECONDS))
            block = _BLOCKS[span.grain]
            block *= -(-(span.stop - span.start) // (block * _MOST_BLOCKS))
            start = span.start
            while start < (over := min(span.stop, rests)):
                part = self._block(span.grain, start, min(over, closed), block) or Span(
                    span.grain, start, min(over, _next(start, _SHORT_BLOCKS[span.grain]))
                )
                parts.over[part] = self._seconds(part)
                start = part.stop
            if start < span.stop:
                parts.open.append(Span(span.grain, start, span.stop))
        return parts

    def _block(self, grain: int, start: int, stop: int, block: int) -> Span | None:
        """The block that begins at `start`, up to `stop` at most; None where nothing of that is left, and
        for minutes that are no whole block: such ends move with the clock."""
        end = min(stop, _next(start, block))
        is_block = end > start and (grain > MINUTE or end - start == block)
        return Span(grain, start, end) if is_block else None

    def _seconds(self, part: Span) -> int:
        """How long a part that is over may be remembered: late calls are rarer, the longer it is over."""
        age = self.now - part.stop
        if part.grain == MINUTE and part.stop - part.start < _SHORT_BLOCKS[MINUTE]:
            return MOMENT_SECONDS
        return next((seconds for least, seconds in _REMEMBERED if age >= least), MOMENT_SECONDS)

    def _without_today(self, spans: Iterable[Span]) -> Iterator[Span]:
        """The spans, of which the day that goes on is put together from its hours: all but the last
        of them are over."""
        today, stop = bucket_of(self.now, DAY), round_up(self.now + 1, HOUR)
        for span in spans:
            if span.grain < DAY or not span.start <= today < span.stop:
                yield span
            else:
                if span.start < today:
                    yield Span(DAY, span.start, today)
                yield Span(HOUR, today, stop)


def _next(start: int, block: int) -> int:
    """The end of the block that `start` lies in."""
    return bucket_of(start, block) + block


def _add_all(kept: dict[K, Amounts], more: Mapping[K, Amounts]) -> None:
    for key, amounts in more.items():
        kept[key].add(amounts)


def _sum_of(make: type[A], answers: Iterable[A]) -> A:
    together = make()
    for answer in answers:
        together.add(answer)
    return together


async def _share(question: Question, span: Span) -> Share:
    statement = _share_statement(question.filters, question.owner_id)
    # What goes together is added up together first: there may be thousands of rows.
    holders: dict[tuple[int, int], Amounts] = defaultdict(Amounts)
    answered: dict[tuple[str, int], Amounts] = defaultdict(Amounts)
    share = Share()
    for row in await question.session.execute(statement, _ends(span)):
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
    statement = _whole_statement(question.filters, question.owner_id)
    row = (await question.session.execute(statement, _ends(span))).one()
    return Amounts(*(int(number or 0) for number in row))


async def _layers(
    question: Question, span: Span, step: int, stack_by: str, among: frozenset[Value] | None
) -> Layers:
    bar = None if span.grain == step else step
    statement = _layers_statement(question.filters, question.owner_id, bar, stack_by, among)
    layers = Layers()
    for at, value, *numbers in await question.session.execute(statement, _ends(span)):
        amounts = Amounts(*map(int, numbers))
        layers.values[value][int(at)].add(amounts)
        layers.sums[int(at)].add(amounts)
    return layers


async def _latencies(question: Question, span: Span, step: int | None) -> Latencies:
    bar = None if span.grain == step else step or 0
    statement = _latencies_statement(question.filters, question.owner_id, bar)
    latencies = Latencies()
    for number, calls in await question.session.execute(statement, _ends(span)):
        latencies.bars[number // _BINS][number % _BINS] = int(calls)
    return latencies


# Statements are built once for each question: that takes as long as many of them.


def _ends(span: Span) -> dict[str, int]:
    return {"grain": span.grain, "start": span.start, "stop": span.stop}


@lru_cache(maxsize=64)
def _share_statement(filters: UsageFilters, owner_id: int | None) -> Select[Any]:
    names = [DIMENSIONS[name] for name in TOPS]
    sums = _by_dimension(filters, owner_id)
    return (
        select(*names, *_amounts_of(sums.c))
        .join(sums, sums.c.dimension_id == UsageDimension.id)
        .group_by(*names)
    )


@lru_cache(maxsize=64)
def _whole_statement(filters: UsageFilters, owner_id: int | None) -> Select[Any]:
    sums = _by_dimension(filters, owner_id)
    return select(*_amounts_of(sums.c)).join(
        UsageDimension, UsageDimension.id == sums.c.dimension_id
    )


@lru_cache(maxsize=64)
def _layers_statement(
    filters: UsageFilters,
    owner_id: int | None,
    bar: int | None,
    stack_by: str,
    among: frozenset[Value] | None,
) -> Select[Any]:
    column: Any = DIMENSIONS[stack_by]
    if among is not None:
        # An empty list has no type of its own in PostgreSQL.
        is_among = column.in_(sorted(among, key=str))
        column = case((is_among, column), else_=None) if among else literal_column("NULL")
    return (
        select(_bar(UsageRollup, bar).label("at"), column.label("layer"), *_amounts_of(UsageRollup))
        .join(UsageDimension, UsageDimension.id == UsageRollup.dimension_id)
        .where(*_range(UsageRollup), *conditions_of(filters, owner_id))
        .group_by(literal_column("1"), literal_column("2"))
    )


@lru_cache(maxsize=64)
def _latencies_statement(
    filters: UsageFilters, owner_id: int | None, bar: int | None
) -> Select[Any]:
    # One number of both is sorted in half the time of two.
    place = _bar(LatencyRollup, bar) * literal_column(str(_BINS), BigInteger) + LatencyRollup.bin
    return (
        select(place, func.sum(LatencyRollup.calls))
        .where(*_range(LatencyRollup), *_of(LatencyRollup, filters, owner_id))
        .group_by(literal_column("1"))
    )


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


def _by_dimension(filters: UsageFilters, owner_id: int | None) -> Any:
    return (
        select(
            UsageRollup.dimension_id,
            *(func.sum(getattr(UsageRollup, name)).label(name) for name in _STORED),
        )
        .where(*_range(UsageRollup), *_of(UsageRollup, filters, owner_id))
        .group_by(UsageRollup.dimension_id)
        .subquery()
    )


def _range(table: type[UsageRollup | LatencyRollup]) -> tuple[ColumnElement[bool], ...]:
    """The buckets of a span (`_ends`)."""
    return (
        table.grain == bindparam("grain"),
        table.bucket >= bindparam("start"),
        table.bucket < bindparam("stop"),
    )


def _of(
    table: type[UsageRollup | LatencyRollup], filters: UsageFilters, owner_id: int | None
) -> Sequence[ColumnElement[bool]]:
    """The conditions on dimensions as one on the roll-ups, none where there are none."""
    conditions = list(conditions_of(filters, owner_id))
    if not conditions:
        return ()
    return (table.dimension_id.in_(select(UsageDimension.id).where(*conditions)),)


def _bar(table: type[UsageRollup | LatencyRollup], step: int | None) -> ColumnElement[Any]:
    """Where the bar of a bucket begins: `step` seconds long, None as long as the bucket, 0 all."""
    if step is None:
        return table.bucket.expression
    if not step:
        return literal_column("0", BigInteger)
    return table.bucket - table.bucket % literal_column(str(step), BigInteger)


def add_bins(bins: Bins, more: Mapping[int, int]) -> None:
    """Add calls a latency bin to others."""
    for number, calls in more.items():
        bins[number] = bins.get(number, 0) + calls
