"""Usage over time, from the roll-ups alone: what a query costs does not grow with the calls.

A window is whole minutes (both ends are rounded up to one), so windows that touch share no call and
leave none out; the buckets at its ends are put together from shorter ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, func, literal_column, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.access.texts import FIRST_YEAR, LAST_YEAR
from aieye.db.tables import LatencyRollup, Provider, Token, UsageDimension, UsageRollup, User
from aieye.db.types import now, to_micros
from aieye.errors import InvalidRequest
from aieye.ledger.rollups import (
    DAY,
    GRAINS,
    HOUR,
    MINUTE,
    MINUTES_KEPT_SECONDS,
    Span,
    choose_grain,
    cover,
    percentile,
    round_up,
)

DIMENSIONS: Mapping[str, InstrumentedAttribute[Any]] = {
    "model": UsageDimension.model,
    "token": UsageDimension.token_id,
    "user": UsageDimension.user_id,
    "provider": UsageDimension.provider_id,
    "pipeline": UsageDimension.pipeline,
    "status": UsageDimension.status,
    "endpoint": UsageDimension.endpoint,
    "cache": UsageDimension.cache,
}
MOST_DIMENSIONS = 3
MOST_BUCKETS = 1_500
MOST_DAYS = 36_525
MOST_GROUPS = 50
MOST_POINTS = 20_000

# The values of the dimensions asked for, in that order; None is what the largest groups leave over.
Group = tuple[int | str, ...] | None
REST: Group = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilters:
    """What calls must have to count, by the names of `DIMENSIONS`; None is anything."""

    model: str | None = None
    token: int | None = None
    user: int | None = None
    provider: int | None = None
    pipeline: str | None = None
    status: int | None = None
    endpoint: str | None = None
    cache: str | None = None


@dataclass(slots=True)
class Sums:
    """What calls add up to. `cost_nano` is of those whose cost is known, `unpriced` the others.

    `bins` is how many calls were in each latency bin (`aieye.ledger.rollups.latency_bin`).
    """

    calls: int = 0
    unpriced: int = 0
    tokens_input: int = 0
    tokens_cached: int = 0
    tokens_output: int = 0
    tokens_reasoning: int = 0
    cost_nano: int = 0
    saved_nano: int = 0
    latency_us: int = 0
    bins: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    @classmethod
    def of(cls, amounts: Sequence[int]) -> Sums:
        """Sums from the numbers in the order of the fields."""
        sums = cls()
        for name, amount in zip(_AMOUNTS, amounts, strict=True):
            setattr(sums, name, amount)
        return sums

    def add(self, other: Sums) -> None:
        for name in _AMOUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for number, calls in other.bins.items():
            self.bins[number] += calls

    def subtract(self, other: Sums) -> None:
        for name in _AMOUNTS:
            setattr(self, name, getattr(self, name) - getattr(other, name))
        for number, calls in other.bins.items():
            self.bins[number] -= calls
            if not self.bins[number]:
                del self.bins[number]

    @property
    def known_cost_nano(self) -> int | None:
        """The cost; None when it is known of no call, which is not the same as nothing."""
        return None if 0 < self.calls == self.unpriced else self.cost_nano

    @property
    def mean_latency_ms(self) -> float | None:
        return self.latency_us / self.calls / 1000 if self.calls else None

    def percentile_ms(self, q: float) -> float | None:
        """The latency, in ms, that the share `q` of the calls stayed within; up to 1.71× wrong."""
        return percentile(self.bins, q)


_AMOUNTS = tuple(item.name for item in fields(Sums) if item.name != "bins")


@dataclass(frozen=True, slots=True)
class UsagePoint:
    """The sums of one group in one bucket (its start, in epoch seconds)."""

    bucket: int
    group: Group
    sums: Sums


@dataclass(frozen=True, slots=True)
class Usage:
    """A series over `since <= time < until` (epoch seconds), by time; empty buckets are left out.

    `groups` are the sums of each group over the window, those with the most calls first.
    """

    since: int
    until: int
    grain: int
    group_by: tuple[str, ...]
    points: Sequence[UsagePoint]
    groups: Sequence[tuple[Group, Sums]]
    totals: Sums


async def usage(
    session: AsyncSession,
    *,
    since: datetime,
    until: datetime | None = None,
    grain: int | None = None,
    group_by: Sequence[str] = (),
    filters: UsageFilters | None = None,
    owner_id: int | None,
) -> Usage:
    """A series with a bucket every `grain` seconds (None: what suits the window).

    `group_by` names up to three of `DIMENSIONS`; groups beyond the largest 50 (fewer when there
    are many buckets) are summed up in one. Raises `InvalidRequest` for a window or grain that
    cannot be served.
    """
    start, stop = _window(since, until)
    chosen = grain or choose_grain(stop - start)
    _check(start, stop, chosen, group_by)
    question = _Question(
        tuple(cover(start, stop, chosen)),
        chosen,
        tuple(group_by),
        tuple(conditions_of(filters, owner_id)),
    )
    points = await _grouped(session, question, stop - start)
    groups = _groups(points)
    overall = Sums()
    for _, sums in groups:
        overall.add(sums)
    return Usage(start, stop, chosen, tuple(group_by), points, groups, overall)


async def totals(
    session: AsyncSession,
    *,
    since: datetime,
    until: datetime | None = None,
    filters: UsageFilters | None = None,
    owner_id: int | None,
) -> Sums:
    """The sums over `since <= time < until` (None: up to now)."""
    start, stop = _window(since, until)
    spans = tuple(cover(start, stop))
    question = _Question(spans, DAY, (), tuple(conditions_of(filters, owner_id)))
    overall = Sums()
    for point in await _points(session, question):
        overall.add(point.sums)
    return overall


async def names_of(session: AsyncSession, dimension: str, ids: Collection[int]) -> dict[int, str]:
    """The names of tokens, users (e-mail addresses) or providers; {} for other dimensions."""
    if dimension not in _NAMED or not ids:
        return {}
    table, name = _NAMED[dimension]
    found = await session.execute(select(table.id, name).where(table.id.in_(ids)))
    return {row.id: row[1] for row in found}


_NAMED: Mapping[str, tuple[type[Token | User | Provider], InstrumentedAttribute[str]]] = {
    "token": (Token, Token.name),
    "user": (User, User.email),
    "provider": (Provider, Provider.name),
}


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of the roll-ups."""

    spans: tuple[Span, ...]
    grain: int
    dimensions: tuple[str, ...]
    conditions: tuple[ColumnElement[bool], ...]


def _window(since: datetime, until: datetime | None) -> tuple[int, int]:
    """Both ends in epoch seconds, rounded up to the shortest buckets that are still kept."""
    moment = to_micros(now())
    for name, end in (("since", since), ("until", until)):
        if end is not None and not FIRST_YEAR <= end.year <= LAST_YEAR:
            raise InvalidRequest(
                f"{name} should lie in the years {FIRST_YEAR} to {LAST_YEAR}.", param=name
            )
    ends = (to_micros(since), moment if until is None else to_micros(until))
    oldest = moment - MINUTES_KEPT_SECONDS * 1_000_000
    start, stop = (
        round_up(end, (MINUTE if end > oldest else HOUR) * 1_000_000) // 1_000_000 for end in ends
    )
    return start, stop


def _check(start: int, stop: int, grain: int, group_by: Sequence[str]) -> None:
    if grain not in GRAINS:
        raise InvalidRequest(f"grain should be one of {GRAINS} seconds.", param="grain")
    if grain == DAY:
        # There is no longer grain to choose, and days without calls are left out.
        if (stop - start) // DAY > MOST_DAYS:
            raise InvalidRequest("The window is longer than a century.", param="since")
    elif (stop - start) // grain > MOST_BUCKETS:
        raise InvalidRequest(
            f"That would be more than {MOST_BUCKETS} buckets: choose a longer grain.", param="grain"
        )
    if grain == MINUTE and start < to_micros(now()) // 1_000_000 - MINUTES_KEPT_SECONDS:
        raise InvalidRequest("Minutes are kept for 35 days: choose a longer grain.", param="grain")
    if len(set(group_by)) > MOST_DIMENSIONS or not set(group_by) <= DIMENSIONS.keys():
        raise InvalidRequest(
            f"group_by takes up to {MOST_DIMENSIONS} of {', '.join(DIMENSIONS)}.", param="group_by"
        )


def conditions_of(
    filters: UsageFilters | None, owner_id: int | None
) -> Iterator[ColumnElement[bool]]:
    if owner_id is not None:
        yield UsageDimension.user_id == owner_id
    for name, column in DIMENSIONS.items():
        value = getattr(filters, name, None)
        if value is not None:
            yield column == value


async def _grouped(session: AsyncSession, question: _Question, seconds: int) -> list[UsagePoint]:
    if not question.dimensions:
        return await _points(session, question)
    largest = await _largest(session, question, seconds)
    if largest is None:
        return await _points(session, question)
    group = tuple_(*(DIMENSIONS[name] for name in question.dimensions))
    of_largest = replace(question, conditions=(*question.conditions, group.in_(largest)))
    # In this order: calls booked in between are in the whole and so in the rest, never less than 0.
    kept = await _points(session, of_largest)
    return _with_rest(kept, await _points(session, replace(question, dimensions=())))


async def _largest(
    session: AsyncSession, question: _Question, seconds: int
) -> list[tuple[int | str, ...]] | None:
    """The groups with the most calls, where there are more than can be shown; else None."""
    most = max(1, min(MOST_GROUPS, MOST_POINTS // max(1, seconds // question.grain)))
    calls: dict[tuple[int | str, ...], int] = defaultdict(int)
    for span in question.spans:
        statement = _sums_of(UsageRollup, ("calls",), span, question, question.dimensions)
        for *group, count in await session.execute(statement):
            calls[tuple(group)] += int(count)
    if len(calls) <= most:
        return None
    return sorted(calls, key=lambda group: (-calls[group], group))[:most]


async def _points(session: AsyncSession, question: _Question) -> list[UsagePoint]:
    found: dict[tuple[int, tuple[int | str, ...]], Sums] = defaultdict(Sums)
    keys = ("at", *question.dimensions)
    for span in question.spans:
        statement = _sums_of(UsageRollup, _AMOUNTS, span, question, keys)
        for row in await session.execute(statement):
            # PostgreSQL gives sums of big integers as decimals.
            amounts = Sums.of([int(value) for value in row[len(keys) :]])
            found[row[0], tuple(row[1 : len(keys)])].add(amounts)
        statement = _sums_of(LatencyRollup, ("calls",), span, question, (*keys, "bin"))
        for at, *group, number, calls in await session.execute(statement):
            found[at, tuple(group)].bins[number] += int(calls)
    ordered = sorted(found.items(), key=itemgetter(0))
    return [UsagePoint(bucket, group, sums) for (bucket, group), sums in ordered]


def _sums_of(
    table: type[UsageRollup | LatencyRollup],
    amounts: Sequence[str],
    span: Span,
    question: _Question,
    keys: Sequence[str],
) -> Select[*tuple[Any, ...]]:
    """The sums of `amounts` over one span, by `keys`: a range of the primary key."""
    columns = [_column(table, name, span, question.grain) for name in keys]
    sums = [func.sum(getattr(table, name)) for name in amounts]
    return (
        select(*columns, *sums)
        .join(UsageDimension, UsageDimension.id == table.dimension_id)
        .where(table.grain == span.grain)
        .where(table.bucket >= span.start, table.bucket < span.stop, *question.conditions)
        .group_by(*columns)
        # Calls may have been taken back (`Book.withhold`).
        .having(func.sum(table.calls) != 0)
    )


def _column(
    table: type[UsageRollup | LatencyRollup], name: str, span: Span, grain: int
) -> ColumnElement[Any]:
    if name == "bin":
        return LatencyRollup.bin.expression
    if name != "at":
        return DIMENSIONS[name].expression
    if span.grain == grain:
        return table.bucket.expression
    # Not a parameter: PostgreSQL would take the one in GROUP BY for another expression.
    return table.bucket - table.bucket % literal_column(str(grain), BigInteger)


def _with_rest(kept: Sequence[UsagePoint], whole: Sequence[UsagePoint]) -> list[UsagePoint]:
    """The points of the kept groups, and in each bucket one of all that they leave over."""
    rest = {point.bucket: point.sums for point in whole}
    for point in kept:
        rest[point.bucket].subtract(point.sums)
    others = [UsagePoint(bucket, REST, sums) for bucket, sums in rest.items() if sums.calls]
    return sorted([*kept, *others], key=lambda point: (point.bucket, point.group is REST))


def _groups(points: Sequence[UsagePoint]) -> list[tuple[Group, Sums]]:
    found: dict[Group, Sums] = defaultdict(Sums)
    for point in points:
        found[point.group].add(point.sums)
    return sorted(found.items(), key=lambda item: (item[0] is REST, -item[1].calls))
