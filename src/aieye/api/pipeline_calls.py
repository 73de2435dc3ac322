"""`/api/v1/pipelines/{name}/call` and `/explain`: a pipeline run, or looked through without running it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any, Literal

import orjson
from fastapi import Path, Request, Response
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from aieye.access.audit import Actor
from aieye.access.snapshot import PipelineInfo
from aieye.api.deps import CurrentActor, CurrentState
from aieye.api.pipeline_checks import INVALID, InvalidPipelineBody, Source
from aieye.api.resources import resource_router
from aieye.api.run_events import RunEvents, prefers_events
from aieye.api.run_views import (
    EXPLAINED,
    RESULT,
    ExplainedView,
    PipelineResult,
    explained_view,
    result_view,
)
from aieye.api.runners import failure_of, grant_of_caller
from aieye.api.schemas import Id, Label, WriteModel, answers
from aieye.db.rows import LARGEST_ID
from aieye.pipeline.running import new_run_id
from aieye.setting_values import MOST_STEP_SECONDS
from aieye.state import State
from aieye.waiting import unless_gone

router = resource_router("pipelines")

CacheMode = Literal["use", "refresh", "off", "only"]


def _finite(arguments: dict[str, Any]) -> dict[str, Any]:
    """Python reads numbers and texts that JSON's other readers do not."""
    try:
        json.dumps(arguments, allow_nan=False)
        orjson.dumps(arguments)
    except (ValueError, TypeError, RecursionError) as error:
        said = str(error)
        if "surrogate" in said:
            raise ValueError("should hold no half of a surrogate pair") from error
        if "ecursion" in said:
            raise ValueError("should not be nested so deep") from error
        raise ValueError("should hold numbers of 64 bits") from error
    return arguments


Arguments = Annotated[
    dict[str, Any],
    Field(
        description="Values by the names of arguments; others are ignored, and `warnings` names them."
    ),
    AfterValidator(_finite),
]
PipelineName = Annotated[
    str, Path(max_length=100, description="The pipeline's name, or its id.", examples=["greet"])
]
ARGS: dict[str, Any] = {"args": {"buddy": "Ada"}}
FAILED: dict[int | str, dict[str, Any]] = {
    status: {"model": InvalidPipelineBody} for status in (402, 422, 502, 504)
}


class PipelineCall(WriteModel):
    """What to run a pipeline with."""

    args: Arguments = Field(default_factory=dict)
    cache: CacheMode = Field(default="use", description="`only` answers from the cache or fails.")
    timeout: Annotated[float, Field(gt=0, le=MOST_STEP_SECONDS)] | None = Field(
        default=None,
        description="Seconds that the run may take: no more than the server's setting (900).",
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
    return explained_view(plan, explained, body.args)


@router.post(
    "/{name}/call", operation_id="pipelines_call", summary="Run a pipeline",
    responses={**answers(RESULT, 404), **FAILED}, response_model=PipelineResult,
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
    options = state.pipelines.options(cache=body.cache, timeout=body.timeout)
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
