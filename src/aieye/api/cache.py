"""`/api/v1/cache`: what is stored and what it saves, the entries, purging, and why a call missed.

Entries hold what anyone has asked: only administrators see and purge them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.access.snapshot import DEMO_ID, DEMO_PROVIDER
from aieye.api.calls import ID_EXAMPLE, owner_of, usd
from aieye.api.deps import CurrentActor, CurrentAdministrator, CurrentState, Reading, change
from aieye.api.paging import LARGEST_NUMBER, CurrentPaging, Page, Paging
from aieye.api.schemas import Label, PathId, View, WriteModel, answers, page_example
from aieye.cache.explain import Difference, Explanation, Nearest
from aieye.db.tables import CacheEntry, CacheTotals, Provider
from aieye.db.types import now
from aieye.errors import NotFound
from aieye.ledger import queries
from aieye.ledger.rollups import DAY
from aieye.state import State

router = APIRouter(prefix="/cache", tags=["cache"])

WINDOW = timedelta(days=30)
STATS_EXAMPLE = {
    "entries": 310,
    "size_bytes": 524_288,
    "limit_bytes": 2_147_483_648,
    "is_on_by_default": True,
    "ttl_seconds": 86_400,
    "since": "2026-10-21T09:30:00Z",
    "calls": {"hit": 840, "miss": 310, "shared": 12, "bypass": 3, "refresh": 0},
    "hit_rate": 0.7332,
    "saved_usd": "1.2044",
}
EXAMPLE = {
    "id": 17,
    "endpoint": "chat/completions",
    "provider": "openai",
    "model": "gpt-4o-mini",
    "namespace": "default",
    "stream": False,
    "content_type": "application/json",
    "hits": 12,
    "size_bytes": 2_310,
    "tokens_input": 1_000,
    "tokens_output": 200,
    "cost_usd": "0.00027",
    "created_at": "2026-11-20T09:30:00Z",
    "last_used_at": "2026-11-20T10:12:00Z",
    "expires_at": "2026-11-21T09:30:00Z",
}
TEXTS_EXAMPLE = {
    **EXAMPLE,
    "request": '{"messages":[{"content":"Hello","role":"user"}],"model":"gpt-4o-mini"}',
    "response": '{"choices":[{"message":{"role":"assistant","content":"Hello!"}}]}',
}
EXPLANATION_EXAMPLE = {
    "call_id": ID_EXAMPLE,
    "reason": "No stored request is the same; the nearest one differs in 1 field.",
    "nearest": {
        "entry_id": 17,
        "distance": 0.51,
        "differing": 1,
        "compared": 200,
        "fields": [
            {
                "path": "/messages/0/content",
                "kind": "changed",
                "asked": '"Hello on 20 November"',
                "stored": '"Hello on 19 November"',
            }
        ],
    },
}
# Media types whose bytes are shown as text.
_TEXTS = ("application/json", "text/")


class CacheStats(BaseModel):
    """What is stored in the installation, and what became of your calls since then.

    `hit_rate` is the share of hits and shared calls among those that the cache could answer.
    """

    entries: int
    size_bytes: int
    limit_bytes: int
    is_on_by_default: bool
    ttl_seconds: int | None
    since: datetime
    calls: dict[str, int]
    hit_rate: float | None
    saved_usd: str | None


class EntryView(View):
    """A stored answer, and what a hit on it saves."""

    id: int
    endpoint: str
    provider: str | None
    model: str
    namespace: str
    stream: bool
    content_type: str
    hits: int
    size_bytes: int
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime | None


class EntryTexts(EntryView):
    """A stored answer with its texts; `response` is null when it is no text."""

    request: str
    response: str | None


class EntryPage(Page[EntryView]):
    """A part of the list of entries."""


class EntryQuery(BaseModel):
    """What entries must have."""

    model: Label | None = None
    namespace: Label | None = None
    endpoint: Label | None = None


class PurgeRequest(WriteModel):
    """Which entries go: those of a model, of a namespace, of both, or all."""

    model: Label | None = None
    namespace: Label | None = None
    all: Literal[True] | None = None

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "gpt-4o-mini"}]})

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if (self.model is None and self.namespace is None) != (self.all is True):
            raise ValueError("name a model or a namespace, or else say all: true")
        return self


class Purged(BaseModel):
    """How many entries went."""

    purged: int


class FieldView(BaseModel):
    """A path (RFC 6901) at which the requests differ, with JSON text cut to where they part.

    `added` is in the call only, `missing` in the stored request only. What is stored is shown to
    administrators.
    """

    path: str
    kind: Literal["changed", "added", "missing"]
    asked: str | None
    stored: str | None


class NearestView(BaseModel):
    """The nearest of the `compared` entries. `fields` has the first 50 of the `differing` paths."""

    entry_id: int
    distance: float
    differing: int
    compared: int
    fields: list[FieldView]


class ExplanationView(BaseModel):
    """Why a call missed."""

    call_id: str
    reason: str
    nearest: NearestView | None


@router.get(
    "", operation_id="cache_get", summary="Get what is stored and what it saves",
    responses=answers(STATS_EXAMPLE),
)  # fmt: skip
async def get_cache(
    caller: CurrentActor,
    state: CurrentState,
    session: Reading,
    since: Annotated[
        AwareDatetime | None, Query(description="Count calls from here on; 30 days by default.")
    ] = None,
) -> CacheStats:
    """Sizes are those of the installation, calls those that you may see."""
    totals = (await session.scalars(select(CacheTotals))).one()
    start = since or now() - WINDOW
    owner_id = owner_of(caller)
    found = await queries.usage(
        session, since=start, grain=DAY, group_by=["cache"], owner_id=owner_id
    )
    return _stats(state, totals, start, found)


@router.get(
    "/entries", operation_id="cache_entries_list", summary="List stored answers, newest first",
    responses=answers(page_example(EXAMPLE), 400),
)  # fmt: skip
async def list_entries(
    caller: CurrentAdministrator,
    session: Reading,
    page: CurrentPaging,
    query: Annotated[EntryQuery, Query()],
) -> EntryPage:
    """Without their texts."""
    return EntryPage.of(await _find(session, query, page), page)


@router.get(
    "/entries/{id}", operation_id="cache_entries_get", summary="Get a stored answer",
    responses=answers(TEXTS_EXAMPLE, 404),
)  # fmt: skip
async def get_entry(entry_id: PathId, caller: CurrentAdministrator, session: Reading) -> EntryTexts:
    """With the request as it was hashed and the response as it was stored."""
    statement = _select().add_columns(CacheEntry.request, CacheEntry.body)
    row = (await session.execute(statement.where(CacheEntry.id == entry_id))).one_or_none()
    if row is None:
        raise NotFound(f"There is no cache entry {entry_id}.")
    request, body = row[-2:]
    is_text = row.content_type.startswith(_TEXTS)
    return EntryTexts(
        **_entry(row).model_dump(),
        request=request.decode("utf-8", "replace"),
        response=body.decode("utf-8", "replace") if is_text else None,
    )


@router.delete(
    "/entries/{id}", operation_id="cache_entries_delete", summary="Purge a stored answer",
    responses=answers({"purged": 1}, 404),
)  # fmt: skip
async def delete_entry(
    entry_id: PathId, caller: CurrentAdministrator, state: CurrentState
) -> Purged:
    """The next call like it goes to the provider."""
    await _note(state, caller, entry_id)
    purged = await state.cache.purge(entry_id=entry_id)
    if not purged:
        raise NotFound(f"There is no cache entry {entry_id}.")
    return Purged(purged=purged)


@router.post(
    "/purge", operation_id="cache_purge", summary="Purge stored answers",
    responses=answers({"purged": 310}),
)  # fmt: skip
async def purge_cache(
    body: PurgeRequest, caller: CurrentAdministrator, state: CurrentState
) -> Purged:
    """Gone when this answers; other processes follow within a second."""
    given = body.model_dump(exclude_none=True)
    await _note(state, caller, "*", **given)
    purged = await state.cache.purge(
        model=body.model, namespace=body.namespace, everything=body.all is True
    )
    return Purged(purged=purged)


@router.get(
    "/explain", operation_id="cache_explain", summary="Explain why a call missed",
    responses=answers(EXPLANATION_EXAMPLE, 404),
)  # fmt: skip
async def explain_call(
    caller: CurrentActor,
    state: CurrentState,
    call_id: Annotated[Label, Query(description="`req_…` or the bare id.", examples=[ID_EXAMPLE])],
) -> ExplanationView:
    """The nearest of the newest 200 entries of the call's model, and the fields that differ."""
    async with state.database.read() as session:
        found = await queries.get_call(session, call_id, owner_id=owner_of(caller))
    explanation = await state.cache.explain(found.call.id)
    return _explained(explanation, caller)


async def _note(state: State, caller: Actor, entry: object, **details: Any) -> None:
    """Write the act down before it is done: the cache purges in transactions of its own."""
    async with change(state) as session:
        record(session, caller, "cache.purge", "cache_entry", entry, **details)


def _stats(state: State, totals: CacheTotals, since: datetime, found: queries.Usage) -> CacheStats:
    calls = {str(group[0]): sums.calls for group, sums in found.groups if group}
    answered = calls.get("hit", 0) + calls.get("shared", 0)
    asked = answered + calls.get("miss", 0)
    settings = state.settings
    return CacheStats(
        entries=totals.entries,
        size_bytes=totals.size_bytes,
        limit_bytes=settings.cache_store_bytes,
        is_on_by_default=settings.cache_default,
        ttl_seconds=settings.cache_ttl,
        since=since,
        calls=calls,
        hit_rate=round(answered / asked, 4) if asked else None,
        saved_usd=usd(found.totals.saved_nano),
    )


def _select() -> Select[Any]:
    """Entries without their texts, which may be large."""
    return select(
        CacheEntry.id,
        CacheEntry.endpoint,
        CacheEntry.model,
        CacheEntry.namespace,
        CacheEntry.is_stream,
        CacheEntry.content_type,
        CacheEntry.hits,
        CacheEntry.size_bytes,
        CacheEntry.created_at,
        CacheEntry.last_used_at,
        CacheEntry.expires_at,
        CacheEntry.meta,
        CacheEntry.provider_id,
        Provider.name.label("provider"),
    ).outerjoin(Provider, Provider.id == CacheEntry.provider_id)


async def _find(session: AsyncSession, query: EntryQuery, page: Paging) -> Sequence[EntryView]:
    statement = _select()
    for name, value in query.model_dump(exclude_none=True).items():
        statement = statement.where(getattr(CacheEntry, name) == value)
    before = page.after_id(LARGEST_NUMBER)
    if before is not None:
        statement = statement.where(CacheEntry.id < before)
    statement = statement.order_by(CacheEntry.id.desc()).limit(page.fetch)
    return [_entry(row) for row in await session.execute(statement)]


def _entry(row: Any) -> EntryView:
    return EntryView(
        **{name: getattr(row, name) for name in _SAME_COLUMNS},
        stream=row.is_stream,
        provider=DEMO_PROVIDER if row.provider_id == DEMO_ID else row.provider,
        tokens_input=row.meta.get("tokens_input"),
        tokens_output=row.meta.get("tokens_output"),
        cost_usd=usd(row.meta.get("cost_nano")),
    )


_SAME_COLUMNS = (
    "id", "endpoint", "model", "namespace", "content_type", "hits", "size_bytes", "created_at",
    "last_used_at", "expires_at",
)  # fmt: skip


def _explained(found: Explanation, caller: Actor) -> ExplanationView:
    nearest = found.nearest
    return ExplanationView(
        call_id=f"req_{found.call_id}",
        reason=found.reason,
        nearest=None if nearest is None else _nearest(nearest, caller),
    )


def _nearest(found: Nearest, caller: Actor) -> NearestView:
    return NearestView(
        entry_id=found.entry_id,
        distance=found.distance,
        differing=found.differing,
        compared=found.compared,
        fields=[_field(difference, caller) for difference in found.fields],
    )


def _field(difference: Difference, caller: Actor) -> FieldView:
    """What another may have asked is not for everyone who asked something like it."""
    kind: Literal["changed", "added", "missing"] = "changed"
    if difference.stored is None:
        kind = "added"
    elif difference.asked is None:
        kind = "missing"
    stored = difference.stored if caller.is_administrator else None
    return FieldView(path=difference.path, kind=kind, asked=difference.asked, stored=stored)
