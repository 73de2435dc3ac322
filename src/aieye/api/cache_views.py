"""How the cache looks to programs: its sizes, its entries, and why a call missed."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from aieye.access.audit import Actor
from aieye.access.snapshot import DEMO_ID, DEMO_PROVIDER
from aieye.api.calls import ID_EXAMPLE
from aieye.api.paging import Page
from aieye.api.schemas import View
from aieye.cache.explain import Difference, Explanation, Nearest
from aieye.ledger.call_fields import usd

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


def shown_entry(row: Any) -> EntryView:
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


def shown_explanation(found: Explanation, caller: Actor) -> ExplanationView:
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
