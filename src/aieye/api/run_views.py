"""Runs and forecasts of pipelines as they are shown."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from aieye.api.original_views import usd
from aieye.api.schemas import View
from aieye.pipeline.explaining import Explanation
from aieye.pipeline.forecasting import StepForecast
from aieye.pipeline.ignored import ignored_arguments
from aieye.pipeline.run_record import Finished
from aieye.pipeline.steps import Plan
from aieye.pipeline.trace import StepTrace

STEP: dict[str, Any] = {
    "path": "prompt_buddy",
    "name": "prompt_buddy",
    "kind": "prompt",
    "within": "greet",
    "offset": 10,
    "length": 19,
    "status": "done",
    "attempts": 1,
    "queued_at": "2026-11-20T12:00:00Z",
    "started_at": "2026-11-20T12:00:00Z",
    "ended_at": "2026-11-20T12:00:01Z",
    "cache": "miss",
    "model": "gpt-4o-mini",
    "input": '{"buddy":"Ada"}',
    "output": "Hello Ada!",
    "error": "E501: 'prompt_buddy' failed: The provider answered 500",
    "tokens_input": 11,
    "tokens_output": 7,
    "cost_usd": "0.00000585",
    "saved_usd": "0",
}
RESULT: dict[str, Any] = {
    "run_id": "0193a5c2b4d87c3e9f10a2b3c4d5e6f7",
    "execution_id": 7,
    "value": "HELLO ADA!",
    "tokens_input": 11,
    "tokens_output": 7,
    "cost_usd": "0.00000585",
    "saved_usd": "0",
    "warnings": ["not asked for: 'budy'; did you mean 'buddy'?"],
    "steps": [STEP],
    "steps_left_out": 0,
}
EXPLAINED: dict[str, Any] = {
    "args": ["buddy"],
    "steps": [
        {
            "path": "prompt_buddy",
            "name": "prompt_buddy",
            "kind": "prompt",
            "certain": True,
            "times": 1,
            "model": "gpt-4o-mini",
            "cache": "miss",
            "tokens_input": 11,
            "input_basis": "request",
            "tokens_output": 256,
            "output_basis": "cap",
            "cost_usd": "0.00015525",
            "saved_usd": "0",
            "error": "the model is not known",
            "unknown": [],
            "also_at": ["prompt_buddy#2"],
            "may_call_models": False,
        }
    ],
    "tokens_input": 11,
    "tokens_output": 256,
    "cost_usd": "0.00015525",
    "saved_usd": "0",
    "warnings": ["not asked for: 'budy'; did you mean 'buddy'?"],
}


class StepView(View):
    """A call of a run, or a `map` or `reduce` (of the kind `form`).

    `offset` and `length` are in the text of the pipeline that `within` names, null for the one that
    was called. `input` and `output` are cut off.
    """

    path: str
    name: str
    kind: str
    within: str | None
    offset: int
    length: int
    status: str
    attempts: int
    queued_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    cache: str | None
    model: str | None
    input: str
    output: str | None
    error: str | None
    tokens_input: int
    tokens_output: int
    cost_usd: str | None
    saved_usd: str | None


Warnings = Annotated[
    list[str], Field(description="A sentence for each argument that nothing asks for.")
]


class PipelineResult(View):
    """The value of a run and what it used. Money is decimal text, null where it is not known.

    `steps` are the first 2,000; `steps_left_out` says how many more there were.
    """

    run_id: str
    execution_id: int
    value: Any
    tokens_input: int
    tokens_output: int
    cost_usd: str | None
    saved_usd: str | None
    warnings: Warnings
    steps: list[StepView]
    steps_left_out: int = 0


class ForecastView(View):
    """What a call would come to, each time of `times`; null is not known.

    `input_basis` and `output_basis` say where the tokens are from: `cache` (the stored answer),
    `request`, `history` (the newest runs) or `cap` (the most that the prompt allows). A call that is
    not `certain` stands in a branch that may not be taken. Identical calls are made once: `also_at` are
    the paths of the others. A function that `may_call_models` does so at a cost that nobody knows yet.
    `unknown` says why figures are null: on whose value they depend, what bounds are not set.
    """

    path: str
    name: str
    kind: str
    certain: bool
    times: int | None
    model: str | None
    cache: str | None
    tokens_input: int | None
    input_basis: str | None
    tokens_output: int | None
    output_basis: str | None
    cost_usd: str | None
    saved_usd: str | None
    error: str | None
    unknown: list[str]
    also_at: list[str]
    may_call_models: bool


class ExplainedView(View):
    """The calls of a pipeline and what they would come to, the uncertain ones included."""

    args: list[str]
    steps: list[ForecastView]
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: str | None
    saved_usd: str | None
    warnings: Warnings


def result_view(finished: Finished) -> PipelineResult:
    """A run that is over, as it is shown."""
    totals = finished.totals
    return PipelineResult(
        run_id=finished.run_id,
        execution_id=finished.execution_id,
        value=finished.value,
        tokens_input=totals.tokens_input,
        tokens_output=totals.tokens_output,
        cost_usd=usd(totals.cost_nano),
        saved_usd=usd(totals.saved_nano),
        warnings=list(finished.warnings),
        steps=[step_view(step) for step in finished.shown],
        steps_left_out=finished.left_out,
    )


def step_view(step: StepTrace) -> StepView:
    """A step, as it is shown."""
    place = step.place
    return StepView(
        path=step.path,
        name=step.name,
        kind=step.kind,
        within=place.within,
        offset=place.start,
        length=place.end - place.start,
        status=step.status,
        attempts=step.attempts,
        queued_at=datetime.fromtimestamp(step.queued_at, UTC),
        started_at=_moment(step.started_at),
        ended_at=_moment(step.ended_at),
        cache=step.cache,
        model=step.model,
        input=step.input_preview,
        output=step.output_preview,
        error=None if step.error is None else f"{step.error_code}: {step.error}",
        tokens_input=step.tokens_input,
        tokens_output=step.tokens_output,
        cost_usd=usd(step.cost_nano),
        saved_usd=usd(step.saved_nano),
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def explained_view(plan: Plan, explained: Explanation, given: Iterable[str]) -> ExplainedView:
    """What a plan would come to with the arguments of the names `given`, as it is shown."""
    return ExplainedView(
        args=[parameter.name for parameter in plan.parameters],
        steps=[_forecast(step) for step in explained.steps],
        tokens_input=explained.tokens_input,
        tokens_output=explained.tokens_output,
        cost_usd=usd(explained.cost_nano),
        saved_usd=usd(explained.saved_nano),
        warnings=list(ignored_arguments(plan.parameters, given)),
    )


def _forecast(step: StepForecast) -> ForecastView:
    return ForecastView(
        path=step.path,
        name=step.name,
        kind=step.kind,
        certain=step.is_certain,
        times=step.times,
        model=step.model,
        cache=step.cache,
        tokens_input=step.tokens_input,
        input_basis=step.input_basis,
        tokens_output=step.tokens_output,
        output_basis=step.output_basis,
        cost_usd=usd(step.cost_nano),
        saved_usd=usd(step.saved_nano),
        error=step.error,
        unknown=list(step.unknown),
        also_at=list(step.also_at),
        may_call_models=step.may_call_models,
    )
