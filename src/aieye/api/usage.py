"""`/api/v1/usage`: what was used over time, from the ledger's roll-ups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.snapshot import DEMO_ID, DEMO_PROVIDER
from aieye.api.calls import Number, owner_of
from aieye.api.deps import CurrentActor, CurrentState, Reading
from aieye.api.resources import resource_router
from aieye.api.schemas import Label, answers
from aieye.db.types import now
from aieye.ledger import queries
from aieye.ledger.call_fields import milliseconds, usd
from aieye.ledger.queries import Sums, Usage, UsageFilters
from aieye.ledger.rollups import DAY, HOUR, MINUTE

router = resource_router("usage")

GRAINS = {
    "auto": None,
    "minute": MINUTE,
    "hour": HOUR,
    "day": DAY,
    "60": MINUTE,
    "3600": HOUR,
    "86400": DAY,
}
Grain = Literal["auto", "minute", "hour", "day", "60", "3600", "86400"]
WINDOW = timedelta(days=1)
# How a dimension is called in a group, and its name where the dimension is an id.
SHOWN = {
    "token": ("token_id", "token_name"),
    "user": ("user_id", "user"),
    "provider": ("provider_id", "provider"),
}
SUMS_EXAMPLE = {
    "calls": 120,
    "unpriced": 0,
    "tokens_input": 96_000,
    "tokens_cached": 12_000,
    "tokens_output": 20_400,
    "tokens_reasoning": 0,
    "cost_usd": "0.02664",
    "saved_usd": "0.0081",
    "latency_mean_ms": 640.25,
    "latency_p50_ms": 520.1,
    "latency_p95_ms": 1_830.4,
}
GROUP_EXAMPLE = {"group": {"model": "gpt-4o-mini-2024-07-18"}, **SUMS_EXAMPLE}
EXAMPLE = {
    "object": "list",
    "data": [{"at": "2026-11-20T09:00:00Z", **GROUP_EXAMPLE}],
    "has_more": False,
    "next_cursor": None,
    "since": "2026-11-19T09:30:00Z",
    "until": "2026-11-20T09:30:00Z",
    "grain": 3600,
    "group_by": ["model"],
    "groups": [GROUP_EXAMPLE],
    "totals": SUMS_EXAMPLE,
}


class UsageSums(BaseModel):
    """Sums over calls. Latencies come from a histogram: p50 and p95 are right to a factor of 1.71.

    `cost_usd` leaves out the `unpriced` calls, and is null when there are no others.
    """

    calls: int
    unpriced: int
    tokens_input: int
    tokens_cached: int
    tokens_output: int
    tokens_reasoning: int
    cost_usd: str | None
    saved_usd: str | None
    latency_mean_ms: float | None
    latency_p50_ms: float | None
    latency_p95_ms: float | None


class UsageGroupView(UsageSums):
    """The sums of one group; null is what is left over the groups with the most calls."""

    group: dict[str, Any] | None


class UsagePointView(UsageGroupView):
    """The sums of one group in the bucket that starts `at`."""

    at: datetime


class UsageView(BaseModel):
    """A series; buckets without calls are left out. `grain` is a bucket's length in seconds."""

    object: Literal["list"] = "list"
    data: list[UsagePointView]
    has_more: Literal[False] = False
    next_cursor: None = None
    since: datetime
    until: datetime
    grain: int
    group_by: list[str]
    groups: list[UsageGroupView]
    totals: UsageSums


class UsageQuery(BaseModel):
    """The window, the buckets, the groups, and what calls must have to count."""

    since: AwareDatetime | None = Field(None, description="A day before `until` by default.")
    until: AwareDatetime | None = Field(None, description="Up to now by default.")
    grain: Grain = "auto"
    group_by: list[Label] = Field([], max_length=8, description="Up to 3, or with commas.")
    model: Label | None = None
    endpoint: Label | None = None
    pipeline: Label | None = None
    cache: Label | None = None
    status: Number | None = None
    token_id: Number | None = None
    user_id: Number | None = None
    provider_id: Number | None = None

    def filters(self) -> UsageFilters:
        return UsageFilters(
            **self.model_dump(include={"model", "endpoint", "pipeline", "cache", "status"}),
            token=self.token_id,
            user=self.user_id,
            provider=self.provider_id,
        )

    def dimensions(self) -> list[str]:
        """The dimensions of `group_by`, each once, in the order given."""
        given = (part.strip() for text in self.group_by for part in text.split(","))
        return list(dict.fromkeys(part for part in given if part))


@router.get(
    "", operation_id="usage_list", summary="Add up usage over time", responses=answers(EXAMPLE, 400)
)
async def list_usage(
    caller: CurrentActor,
    state: CurrentState,
    session: Reading,
    query: Annotated[UsageQuery, Query()],
) -> UsageView:
    """Calls of a window count in it whole minutes at a time: both ends are rounded up to one.

    `group_by` takes model, token, user, provider, pipeline, status, endpoint and cache.
    """
    found = await queries.usage(
        session,
        since=query.since or _day_before(query.until or now()),
        until=query.until,
        grain=GRAINS[query.grain],
        group_by=query.dimensions(),
        filters=query.filters(),
        owner_id=owner_of(caller),
    )
    return await shown(session, found, is_demo=state.directory.is_demo)


def _day_before(moment: datetime) -> datetime:
    # The first day there is has none: what is wrong with it is said of `until` itself.
    return moment if moment.year < queries.FIRST_YEAR else moment - WINDOW


async def shown(session: AsyncSession, found: Usage, *, is_demo: bool) -> UsageView:
    """A series as programs see it, with the names of what its groups are."""
    names = {name: await _names(session, found, name) for name in found.group_by}
    if is_demo and "provider" in names:
        # The simulated provider has no row, and its id is that of none.
        names["provider"][DEMO_ID] = DEMO_PROVIDER
    groups = {group: _group(group, names) for group, _ in found.groups}
    return UsageView(
        data=[
            UsagePointView(
                at=_moment(point.bucket), group=groups[point.group], **amounts(point.sums)
            )
            for point in found.points
        ],
        since=_moment(found.since),
        until=_moment(found.until),
        grain=found.grain,
        group_by=list(found.group_by),
        groups=[
            UsageGroupView(group=groups[group], **amounts(sums)) for group, sums in found.groups
        ],
        totals=UsageSums(**amounts(found.totals)),
    )


def amounts(sums: Sums) -> dict[str, Any]:
    """The fields of `UsageSums`."""
    return {
        "calls": sums.calls,
        "unpriced": sums.unpriced,
        "tokens_input": sums.tokens_input,
        "tokens_cached": sums.tokens_cached,
        "tokens_output": sums.tokens_output,
        "tokens_reasoning": sums.tokens_reasoning,
        "cost_usd": usd(sums.known_cost_nano),
        "saved_usd": usd(sums.saved_nano),
        "latency_mean_ms": _rounded(sums.mean_latency_ms),
        "latency_p50_ms": _rounded(sums.percentile_ms(0.5)),
        "latency_p95_ms": _rounded(sums.percentile_ms(0.95)),
    }


async def _names(session: AsyncSession, found: Usage, dimension: str) -> dict[int, str]:
    place = found.group_by.index(dimension)
    values: Collection[Any] = {group[place] for group, _ in found.groups if group is not None}
    return await queries.names_of(session, dimension, values)


def _group(
    values: tuple[int | str, ...] | None, names: Mapping[str, Mapping[int, str]]
) -> dict[str, Any] | None:
    """A group by the names of its fields; what a call does not have (0 and "") is null."""
    if values is None:
        return None
    group: dict[str, Any] = {}
    for dimension, value in zip(names, values, strict=True):
        id_field, name_field = SHOWN.get(dimension, (dimension, None))
        group[id_field] = value or None
        if name_field is not None:
            group[name_field] = names[dimension].get(int(value))
    return group


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else milliseconds(ms * 1000)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
