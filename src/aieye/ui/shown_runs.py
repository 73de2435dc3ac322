"""Runs and their steps as pages show them: the rows put into words and bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, get_args

from markupsafe import Markup

from aieye.db.tables import Execution, ExecutionStep
from aieye.pipeline.run_queries import ShownStatus, status_of
from aieye.ui import charts, show
from aieye.ui.charts import Span

STATUSES: Final[Sequence[ShownStatus]] = get_args(ShownStatus)
DOTS: Final[Mapping[str, str]] = {
    "running": "warn", "cancelling": "warn", "done": "good", "failed": "bad", "cancelled": "off",
    "interrupted": "bad",
}  # fmt: skip
_MOST_BARS: Final = 120
MOST_CHARACTERS: Final = 20_000


@dataclass(frozen=True, slots=True)
class ShownRun:
    """A run as lists show it."""

    id: int
    run_id: str
    pipeline_id: int | None
    pipeline: str
    version: int | None
    user_id: int | None
    status: ShownStatus
    started_at: datetime
    duration_ms: float | None
    tokens_input: int
    tokens_output: int
    cost_nano: int | None
    saved_nano: int | None
    is_simulated: bool
    error: str | None

    @property
    def dot(self) -> str:
        return DOTS[self.status]

    @property
    def is_open(self) -> bool:
        return self.status in {"running", "cancelling"}

    @property
    def place(self) -> str:
        return f"/pipelines/executions/{self.id}"


@dataclass(frozen=True, slots=True)
class ShownStep:
    """A step as a page shows it; `depth` is how many pipelines are around it, `offset_ms` counts from
    the run's beginning. Values are what is kept of them, as text."""

    number: int
    path: str
    name: str
    kind: str
    depth: int
    status: str
    attempts: int
    offset_ms: float
    duration_ms: float | None
    waited_ms: float
    cache: str | None
    model: str | None
    tokens_input: int
    tokens_output: int
    cost_nano: int | None
    saved_nano: int | None
    is_simulated: bool
    input: str | None
    output: str | None
    error: str | None

    @property
    def dot(self) -> str:
        return {"done": "good", "failed": "bad", "cancelled": "off"}.get(self.status, "warn")

    @property
    def id(self) -> str:
        return f"step-{self.number}"


def shown_run(row: Execution) -> ShownRun:
    """The run of a row."""
    return ShownRun(
        row.id, row.run_id, row.pipeline_id, row.pipeline or "a text that is not saved",
        row.pipeline_version, row.user_id, status_of(row), row.started_at,
        _milliseconds(row.started_at, row.ended_at), row.tokens_input, row.tokens_output,
        row.cost_nano, row.saved_nano, row.is_simulated, _error(row.error),
    )  # fmt: skip


def shown_step(row: ExecutionStep, began_at: datetime) -> ShownStep:
    """The step of a row."""
    started = row.started_at or row.queued_at or began_at
    return ShownStep(
        row.number, row.path, row.name, row.kind, row.path.count("/"), row.status, row.attempts,
        max(0.0, _milliseconds(began_at, started) or 0.0),
        _milliseconds(row.started_at, row.ended_at),
        max(0.0, _milliseconds(row.queued_at, row.started_at) or 0.0),
        row.cache, row.model, row.tokens_input or 0, row.tokens_output or 0, row.cost_nano,
        row.saved_nano, row.is_simulated, as_text(row.arguments), as_text(row.output), _error(row.error),
    )  # fmt: skip


def as_text(value: Any) -> str | None:
    """A kept value for people: a text as it is, anything else as JSON; the beginning of a long one."""
    if value is None:
        return None
    text = value if isinstance(value, str) else show.json(value, indent=2)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def waterfall_of(run: ShownRun, steps: Sequence[ShownStep]) -> Markup:
    """When each step ran, as bars."""
    spans = [
        Span(
            one.path.rpartition("/")[2], one.offset_ms, one.duration_ms or 0.0, _colour(one),
            one.depth, _note(one), href=f"#{one.id}",
        )
        for one in steps[:_MOST_BARS]
    ]  # fmt: skip
    spans.append(Span("Total", 0, run.duration_ms or 0.0, 0))
    return charts.waterfall(spans, title="When each step ran")


def _colour(step: ShownStep) -> int:
    if step.status == "failed":
        return 3
    if step.cache in {"hit", "shared"}:
        return 2
    return 1 if step.model is not None or step.kind in {"prompt", "preset"} else 4


def _note(step: ShownStep) -> str:
    if step.status != "done":
        return step.status
    if step.cache in {"hit", "shared"}:
        return "from the cache"
    return show.money(step.cost_nano) if step.cost_nano else ""


def _milliseconds(since: datetime | None, until: datetime | None) -> float | None:
    return None if since is None or until is None else (until - since).total_seconds() * 1000


def _error(kept: Any) -> str | None:
    """Why, with the place in the pipeline's text where there is one."""
    if kept is None:
        return None
    place = f" at {kept['line']}:{kept['column']}" if kept.get("line") else ""
    return f"{kept['code']}{place}: {kept.get('message') or 'not kept'}"
