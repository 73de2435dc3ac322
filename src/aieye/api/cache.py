"""`/api/v1/cache`: what is stored and what it saves, the entries, purging, and why a call missed.

Entries hold what anyone has asked: only administrators see and purge them.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Literal, Self

from fastapi import Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, model_validator
from sqlalchemy import select

from aieye.api.cache_views import (
    EXAMPLE,
    EXPLANATION_EXAMPLE,
    STATS_EXAMPLE,
    TEXTS_EXAMPLE,
    CacheStats,
    EntryPage,
    EntryTexts,
    ExplanationView,
    shown_entry,
    shown_explanation,
)
from aieye.api.calls import ID_EXAMPLE, owner_of
from aieye.api.deps import CurrentActor, CurrentAdministrator, CurrentState, Reading
from aieye.api.paging import CurrentPaging
from aieye.api.resources import resource_router
from aieye.api.schemas import Label, WriteModel, answers, page_example
from aieye.cache import browse
from aieye.cache.browse import EntryFilters
from aieye.db.cursors import LARGEST_NUMBER
from aieye.db.tables import CacheTotals
from aieye.db.types import now
from aieye.ledger import queries
from aieye.ledger.call_fields import usd
from aieye.ledger.rollups import DAY
from aieye.state import State

router = resource_router("cache")

WINDOW = timedelta(days=30)

EntryId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_NUMBER, examples=[17])]


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
    entries = await browse.list_entries(
        session,
        EntryFilters(**query.model_dump()),
        before=page.after_id(LARGEST_NUMBER),
        limit=page.fetch,
    )
    return EntryPage.of([shown_entry(entry) for entry in entries], page)


@router.get(
    "/entries/{id}", operation_id="cache_entries_get", summary="Get a stored answer",
    responses=answers(TEXTS_EXAMPLE, 404),
)  # fmt: skip
async def get_entry(
    entry_id: EntryId, caller: CurrentAdministrator, session: Reading
) -> EntryTexts:
    """With the request as it was hashed and the response as it was stored."""
    found = await browse.get_texts(session, entry_id)
    return EntryTexts(
        **shown_entry(found.entry).model_dump(), request=found.request, response=found.response
    )


@router.delete(
    "/entries/{id}", operation_id="cache_entries_delete", summary="Purge a stored answer",
    responses=answers({"purged": 1}, 404),
)  # fmt: skip
async def delete_entry(
    entry_id: EntryId, caller: CurrentAdministrator, state: CurrentState
) -> Purged:
    """The next call like it goes to the provider."""
    async with state.database.read() as session:
        await browse.get_entry(session, entry_id)
    return Purged(purged=await state.cache.purge(caller, entry_id=entry_id))


@router.post(
    "/purge", operation_id="cache_purge", summary="Purge stored answers",
    responses=answers({"purged": 310}),
)  # fmt: skip
async def purge_cache(
    body: PurgeRequest, caller: CurrentAdministrator, state: CurrentState
) -> Purged:
    """Gone when this answers; other processes follow within a second."""
    purged = await state.cache.purge(
        caller, model=body.model, namespace=body.namespace, everything=body.all is True
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
    return shown_explanation(explanation, caller)


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
