"""`/api/v1/pipelines/{name}/call` and `/explain`: a pipeline run, or looked through without running it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Request, Response
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from aieye.access.audit import Actor
from aieye.access.snapshot import PipelineInfo
from aieye.api.deps import CurrentActor, CurrentState
from aieye.api.original_views import usd
from aieye.api.pipelines import INVALID, InvalidPipelineBody, Source
from aieye.api.run_events import RunEvents, prefers_events
from aieye.api.runners import failure_of, grant_of_caller
from aieye.api.schemas import Id, Label, View, WriteModel, answers
from aieye.api.waiting import unless_gone
from aieye.db.rows import LARGEST_ID
from aieye.pipeline.explaining import Explanation, StepForecast
from aieye.pipeline.limits import RUN_SECONDS
from aieye.pipeline.options import RunOptions
from aieye.pipeline.run_record import Finished
from aieye.pipeline.running import new_run_id
from aieye.pipeline.steps import Plan
from aieye.pipeline.trace import StepTrace
from aieye.state import State

router = APIRouter(prefix="/pipelines", tags=["pipelines"])

CacheMode = Literal["use", "refresh", "off", "only"]


def _finite(arguments: dict[str, Any]) -> dict[str, Any]:
    """Python reads numbers that JSON's other readers do not."""
    try:
        json.dumps(arguments, allow_nan=False)
        orjson.dumps(arguments)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError("should hold numbers of 64 bits, nested 200 deep at most") from error
    return arguments


Arguments = Annotated[
    dict[str, Any],
    Field(description="Values by the names of arguments; others are ignored."),
    AfterValidator(_finite),
]
PipelineName = Annotated[
    str, Path(max_length=100, description="The pipeline's name, or its id.", examples=["greet"])
]
ARGS: dict[str, Any] = {"args": {"buddy": "Ada"}}
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
EXAMPLE: dict[str, Any] = {
    "run_id": "0193a5c2b4d87c3e9f10a2b3c4d5e6f7",
    "execution_id": 7,
    "value": "HELLO ADA!",
    "tokens_input": 11,
    "tokens_output": 7,
    "cost_usd": "0.00000585",
    "saved_usd": "0",
    "steps": [STEP],
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
        }
    ],
    "tokens_input": 11,
    "tokens_output": 256,
    "cost_usd": "0.00015525",
    "saved_usd": "0",
}
FAILED: dict[int | str, dict[str, Any]] = {
    status: {"model": InvalidPipelineBody} for status in (402, 422, 502, 504)
}


class PipelineCall(WriteModel):
    """What to run a pipeline with."""

    args: Arguments = Field(default_factory=dict)
    cache: CacheMode = Field(default="use", description="`only` answers from the cache or fails.")
    timeout: Annotated[float, Field(gt=0, le=RUN_SECONDS)] = Field(
        default=RUN_SECONDS, description="Seconds that the run may take."
    )
    key_id: Id | None = Field(
        default=None, description="With a session: the provider's key to call with."
    )

    model_config = ConfigDict(json_schema_extra={"examples": [ARGS]})


class PipelineExplain(WriteModel):
    """What to look through: a saved pipeline by its `name`, or a text."""

    name: Label | None = None
    source: Source | None = None
    args: Arguments = Field(default_factory=dict)
    cache: CacheMode = "use"

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"source": "uppercase(s)", "args": {"s": "abc"}}]}
    )

    @model_validator(mode="after")
    def _either(self) -> PipelineExplain:
        if (self.name is None) == (self.source is None):
            raise ValueError("either name or source should be given")
        return self


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


class PipelineResult(View):
    """The value of a run and what it used. Money is decimal text, null where it is not known."""

    run_id: str
    execution_id: int
    value: Any
    tokens_input: int
    tokens_output: int
    cost_usd: str | None
    saved_usd: str | None
    steps: list[StepView]


class ForecastView(View):
    """What a call would come to, each time of `times`; null is not known.

    `input_basis` and `output_basis` say where the tokens are from: `cache` (the stored answer),
    `request`, `history` (the newest runs) or `cap` (the most that the prompt allows). A call that is
    not `certain` stands in a branch that may not be taken.
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


class ExplainedView(View):
    """The calls of a pipeline and what they would come to, the uncertain ones included."""

    args: list[str]
    steps: list[ForecastView]
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: str | None
    saved_usd: str | None


@router.post(
    "/explain", operation_id="pipelines_explain", summary="Look a pipeline through",
    responses={**answers(EXPLAINED, 404), **INVALID},
)  # fmt: skip
async def explain_pipeline(
    body: PipelineExplain, caller: CurrentActor, request: Request, state: CurrentState
) -> ExplainedView:
    """Tells the calls, which of them the cache would answer, tokens and cost. Nothing is run."""
    info = None
    if body.name is not None:
        info = _find(state, body.name, caller)
        plan = await state.pipelines.plan(info)
    else:
        plan = await state.pipelines.plan_of_text(body.source or "", caller)
    grant = grant_of_caller(request, state, caller)
    explained = await state.pipelines.explain(plan, body.args, grant, info=info, cache=body.cache)
    return explained_view(plan, explained)


@router.post(
    "/{name}/call", operation_id="pipelines_call", summary="Run a pipeline",
    responses={**answers(EXAMPLE, 404), **FAILED}, response_model=PipelineResult,
)  # fmt: skip
async def call_pipeline(
    name: PipelineName, body: PipelineCall, caller: CurrentActor, request: Request,
    response: Response, state: CurrentState,
) -> PipelineResult | RunEvents:  # fmt: skip
    """Runs the version that the label `production` names, else the newest, on your account.

    With `Accept: text/event-stream` the answer is a stream of events: `run` (`{"run_id"}`, by which
    `executions_cancel` ends it), a `step` for each step that has ended, and at last `result` (the
    JSON of the plain answer) or `error` (that of an error). The run ends when the client leaves.
    """
    info = _find(state, name, caller)
    grant = grant_of_caller(request, state, caller, key_id=body.key_id)
    options = RunOptions(cache=body.cache, timeout=body.timeout)
    if prefers_events(request.headers.get("accept", "")):
        # What keeps it from running at all is told as an answer of its own.
        await state.pipelines.plan(info)
        run_id = new_run_id()
        return RunEvents(
            request,
            run_id,
            lambda tell: state.pipelines.run(
                info, body.args, grant, replace(options, on_step=tell), run_id=run_id
            ),
            show_step=_step,
            show_result=result_view,
        )
    finished = await unless_gone(request, state.pipelines.run(info, body.args, grant, options))
    if finished.failure is not None:
        raise failure_of(finished)
    response.headers["X-Run-Id"] = finished.run_id
    return result_view(finished)


def _find(state: State, name: str, caller: Actor) -> PipelineInfo:
    """By name; no name is a number, so that one is an id. Raises `NotFound`."""
    if name.isascii() and name.isdigit() and len(name) <= len(str(LARGEST_ID)):
        return state.pipelines.get(int(name), caller)
    return state.pipelines.get_named(name, caller)


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
        steps=[_step(step) for step in finished.trace],
    )


def _step(step: StepTrace) -> StepView:
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


def explained_view(plan: Plan, explained: Explanation) -> ExplainedView:
    """What a plan would come to, as it is shown."""
    return ExplainedView(
        args=[parameter.name for parameter in plan.parameters],
        steps=[_forecast(step) for step in explained.steps],
        tokens_input=explained.tokens_input,
        tokens_output=explained.tokens_output,
        cost_usd=usd(explained.cost_nano),
        saved_usd=usd(explained.saved_nano),
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
    )
