"""`/api/v1/executions`: runs of pipelines, those under way too, which can be ended here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, Field

from aieye.access.audit import Actor, record
from aieye.api.deps import CurrentActor, CurrentState, Reading
from aieye.api.original_views import usd
from aieye.api.paging import CurrentPaging, Page
from aieye.api.resources import resource_router
from aieye.api.schemas import Label, View, answers, page_example
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import Execution, ExecutionStep
from aieye.pipeline.executions import NoSuchExecution, Run, list_steps
from aieye.pipeline.run_queries import (
    NONE_SUCH,
    ShownStatus,
    find_execution,
    list_executions,
    status_of,
    tell_to_end,
)
from aieye.state import State, change

router = resource_router("executions")

RUN_ID = "0193a5c2b4d87c3e9f10a2b3c4d5e6f7"
LISTED: dict[str, Any] = {
    "id": 7,
    "run_id": RUN_ID,
    "pipeline_id": 14,
    "pipeline": "greet",
    "pipeline_version": 3,
    "user_id": 1,
    "token_id": 1,
    "status": "done",
    "error": "E501: 'prompt_buddy' failed: The provider answered 500",
    "started_at": "2026-11-20T12:00:00Z",
    "ended_at": "2026-11-20T12:00:01Z",
    "tokens_input": 11,
    "tokens_output": 7,
    "cost_usd": "0.00000585",
    "saved_usd": "0",
}
STEP: dict[str, Any] = {
    "number": 0,
    "path": "prompt_buddy",
    "name": "prompt_buddy",
    "kind": "prompt",
    "offset": 10,
    "length": 19,
    "status": "done",
    "attempts": 1,
    "queued_at": "2026-11-20T12:00:00Z",
    "started_at": "2026-11-20T12:00:00Z",
    "ended_at": "2026-11-20T12:00:01Z",
    "cache": "miss",
    "model": "gpt-4o-mini",
    "input": {"buddy": "Ada"},
    "output": "Hello Ada!",
    "error": "E501: 'prompt_buddy' failed: The provider answered 500",
    "tokens_input": 11,
    "tokens_output": 7,
    "cost_usd": "0.00000585",
    "saved_usd": "0",
}
EXAMPLE: dict[str, Any] = {
    **LISTED, "args": {"buddy": "Ada"}, "value": "HELLO ADA!", "steps": [STEP],
}  # fmt: skip
CANCELLED: dict[str, Any] = {"run_id": RUN_ID, "status": "cancelling"}

ExecutionId = Annotated[
    str,
    Path(alias="id", max_length=64, description="The id, or the `run_id`.", examples=[RUN_ID]),
]


class ExecutionView(View):
    """A run of a pipeline. A run that was told to end is `cancelling` until it has.

    Money is decimal text, null where it is not known. `error` says why there is no value.
    """

    id: int
    run_id: str
    pipeline_id: int | None
    pipeline: str | None
    pipeline_version: int | None
    user_id: int | None
    token_id: int | None
    status: ShownStatus
    error: str | None
    started_at: datetime
    ended_at: datetime | None
    tokens_input: int
    tokens_output: int
    cost_usd: str | None
    saved_usd: str | None


class ExecutionStepView(View):
    """A call of a run, or a `map` or `reduce` (of the kind `form`), as it is kept.

    `path` leads to it, through the pipelines around it. `offset` and `length` are in the text of the
    innermost one. `input` and `output` are the values where they are short, else their beginnings.
    """

    number: int
    path: str
    name: str
    kind: str
    offset: int
    length: int
    status: str
    attempts: int
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    cache: str | None
    model: str | None
    input: Any
    output: Any
    error: str | None
    tokens_input: int | None
    tokens_output: int | None
    cost_usd: str | None
    saved_usd: str | None


class ExecutionDetail(ExecutionView):
    """A run with its values, as far as they are kept, and its steps, which are there at its end."""

    args: dict[str, Any] | None
    value: Any
    steps: list[ExecutionStepView]


class Executions(Page[ExecutionView]):
    """A part of the list of runs."""


class Cancelled(View):
    """A run that was told to end, or one that is over: `status` says which."""

    run_id: str
    status: ShownStatus


class ExecutionQuery(BaseModel):
    """What runs must be."""

    pipeline: Label | None = Field(None, description="The pipeline's name, or its id.")
    status: ShownStatus | None = None


@router.get(
    "", operation_id="executions_list", summary="List runs of pipelines",
    responses=answers(page_example(LISTED)),
)  # fmt: skip
async def get_executions(
    caller: CurrentActor,
    session: Reading,
    page: CurrentPaging,
    query: Annotated[ExecutionQuery, Query()],
) -> Executions:
    """Your own, an administrator's all; the newest first. One that takes less than 50 ms is there
    when it is over."""
    rows = await list_executions(
        session, actor=caller, pipeline=query.pipeline, status=query.status,
        before=page.after_id(LARGEST_ID), limit=page.fetch,
    )  # fmt: skip
    return Executions.of([ExecutionView(**_listed(row)) for row in rows], page)


@router.get(
    "/{id}", operation_id="executions_get", summary="Get a run",
    responses=answers(EXAMPLE, 404),
)  # fmt: skip
async def get_execution(
    execution_id: ExecutionId, caller: CurrentActor, session: Reading
) -> ExecutionDetail:
    """A run with its steps, 5,000 at most."""
    row = await find_execution(session, execution_id, actor=caller)
    steps = await list_steps(session, row.id)
    return ExecutionDetail(
        **_listed(row), args=row.arguments, value=row.output, steps=list(_steps(steps))
    )


@router.post(
    "/{id}/cancel", operation_id="executions_cancel", summary="End a run",
    responses=answers(CANCELLED, 404),
)  # fmt: skip
async def cancel_execution(
    execution_id: ExecutionId, caller: CurrentActor, state: CurrentState
) -> Cancelled:
    """Its calls are broken off, within half a second if another process makes them; whoever waits for
    it gets E503. A run that is over stays as it is."""
    if (run := _under_way(state, execution_id, caller)) is not None:
        await _note(state, caller, run.run_id, run.user_id)
        state.pipelines.open.cancel(run.run_id)
        return Cancelled(run_id=run.run_id, status="cancelling")
    async with state.database.read() as session:
        row = await find_execution(session, execution_id, actor=caller)
    if row.status != "running":
        return Cancelled(run_id=row.run_id, status=status_of(row))
    await _note(state, caller, row.run_id, row.user_id)
    if not state.pipelines.open.cancel(row.run_id):
        async with change(state) as session:
            await tell_to_end(session, row.id)
    return Cancelled(run_id=row.run_id, status="cancelling")


async def _note(state: State, caller: Actor, run_id: str, owner_id: int | None) -> None:
    """Put on record that somebody ends another's run."""
    if owner_id != caller.user_id:
        async with state.database.write() as session:
            record(session, caller, "execution.cancel", "execution", run_id, user_id=owner_id)


def _under_way(state: State, reference: str, caller: Actor) -> Run | None:
    """The run of this process that is meant by its run id: it may have no row yet."""
    run = state.pipelines.open.find(reference)
    if run is None:
        return None
    if not caller.may_see(run.user_id):
        raise NoSuchExecution(NONE_SUCH)
    return run


def _listed(row: Execution) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in _SAME_COLUMNS},
        "status": status_of(row),
        "error": _error(row.error),
        "cost_usd": usd(row.cost_nano),
        "saved_usd": usd(row.saved_nano),
    }


_SAME_COLUMNS = (
    "id", "run_id", "pipeline_id", "pipeline", "pipeline_version", "user_id", "token_id",
    "started_at", "ended_at", "tokens_input", "tokens_output",
)  # fmt: skip


def _steps(steps: Iterable[ExecutionStep]) -> Iterable[ExecutionStepView]:
    for step in steps:
        yield ExecutionStepView(
            **{name: getattr(step, name) for name in _SAME_STEP_COLUMNS},
            offset=step.span_start,
            length=step.span_end - step.span_start,
            input=step.arguments,
            error=_error(step.error),
            cost_usd=usd(step.cost_nano),
            saved_usd=usd(step.saved_nano),
        )


_SAME_STEP_COLUMNS = (
    "number", "path", "name", "kind", "status", "attempts", "queued_at", "started_at", "ended_at",
    "cache", "model", "output", "tokens_input", "tokens_output",
)  # fmt: skip


def _error(kept: Any) -> str | None:
    return None if kept is None else f"{kept['code']}: {kept['message']}"
