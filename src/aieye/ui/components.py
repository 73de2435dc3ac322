"""All parts that pages are made of, with little and with much data: for whoever builds pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from fastapi import APIRouter, Response

from aieye.ui import charts, show
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.session import RequireAdministrator

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_MODELS = ("gpt-4o-mini", "gpt-4o", "o4-mini", "text-embedding-3-small", "claude-sonnet-4-5",
           "a-model-with-a-very-long-name-2026-11-20-preview-with-a-suffix")  # fmt: skip


@dataclass(frozen=True, slots=True)
class SampleCall:
    """A row of the sample table."""

    id: str
    at: datetime
    model: str
    status: int
    cache: str
    tokens: int
    cost_nano: int | None
    latency_ms: float


@router.get("/components")
async def show_components(
    visitor: RequireAdministrator, rows: int = 8, cursor: int = 0
) -> Response:
    """Every component; `?rows=0` shows the empty states, `?rows=60` much."""
    wanted = min(200, max(0, rows))
    return page(
        visitor.request,
        "components.html",
        period=visitor.range(),
        rows=wanted,
        calls=_calls(visitor.now, wanted, cursor),
        next_cursor=cursor + wanted if wanted and cursor < 3 * wanted else None,
        chart=_chart(visitor.now, wanted),
        sparks=_sparks(wanted),
        spans=_SPANS,
        models=_MODELS,
        errors={},
        typed={},
    )


@router.post("/components")
async def try_form(visitor: RequireAdministrator) -> Response:
    """The sample form: a name is needed, and nothing is stored."""
    fields = await visitor.fields()
    if fields.text("name"):
        return go(
            visitor.request, "/components", toast=f"Nothing was stored of “{fields['name']}”."
        )
    return page(
        visitor.request, "components.html", status=422,
        period=visitor.range(), rows=8, calls=_calls(visitor.now, 8, 0), next_cursor=None,
        chart=_chart(visitor.now, 8), sparks=_sparks(8), spans=_SPANS, models=_MODELS,
        errors={"name": "Give it a name: others find it by that."}, typed=fields,
    )  # fmt: skip


@router.get("/components/sample/{id}")
async def show_sample(id: str, visitor: RequireAdministrator) -> Response:  # noqa: A002 - as in the path
    """What a drawer shows."""
    return page(visitor.request, "components_sample.html", sample=id[:80], spans=_SPANS)


@router.get("/components/confirm")
async def show_confirm(visitor: RequireAdministrator) -> Response:
    """An act that asks for a word."""
    return page(visitor.request, "components_confirm.html", error="")


@router.post("/components/confirm")
async def confirm(visitor: RequireAdministrator) -> Response:
    """The word was typed, or was not."""
    if (await visitor.fields()).text("confirm") != "sample":
        said = "Type the word as it stands above."
        return page(visitor.request, "components_confirm.html", status=422, error=said)
    return go(visitor.request, "/components", toast="Nothing was deleted: this is a sample.")


_SPANS = (
    charts.Span("Queue", 0, 12, colour=0),
    charts.Span("First attempt", 12, 840, colour=3, depth=1, note="429, tried again"),
    charts.Span("First token", 900, 412, colour=1, depth=1),
    charts.Span("Answer", 1312, 2200, colour=2, depth=1, note="312 tokens"),
)


def _calls(now: datetime, count: int, start: int) -> list[SampleCall]:
    return [
        SampleCall(
            id=f"req_{i:04d}9f8e7d6c5b4a3021{i:04d}",
            at=now - timedelta(seconds=37 * i * i + 4),
            model=_MODELS[i % len(_MODELS)],
            status=(200, 200, 200, 429, 200, 502)[i % 6],
            cache=("hit", "miss", "miss", "bypass")[i % 4],
            tokens=(i * 7919) % 120_000,
            cost_nano=None if i % 7 == 3 else (i * i * 37_123) % 40_000_000,
            latency_ms=(i * 613.7) % 14_000 + 0.8,
        )
        for i in range(start, start + count)
    ]


def _chart(now: datetime, count: int) -> dict[str, Any]:
    buckets = 24 if count <= 8 else 60
    moments = [now - timedelta(hours=buckets - i) for i in range(buckets)]
    names = _MODELS[:2] if count <= 8 else _MODELS
    series = [
        charts.Series(
            name,
            [
                max(0.0, math.sin(i / 4 + n) + 1) * 900 / (n + 1) if count else 0.0
                for i in range(buckets)
            ],
            href=f"/components?model={name}",
        )
        for n, name in enumerate(names)
    ]
    return {
        "buckets": [f"{moment:%Y-%m-%d %H:00} UTC" for moment in moments],
        "series": series,
        "ticks": charts.round_ticks(moments),
        "write": show.compact,
    }


def _sparks(count: int) -> list[list[float]]:
    return [
        [abs(math.sin(i / 3 + n)) * (n + 1) if count else 0.0 for i in range(30)] for n in range(8)
    ]
