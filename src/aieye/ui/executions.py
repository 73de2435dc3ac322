"""Runs of pipelines as pages: a history, one run with its steps, and two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.cursors import number_after
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import Execution, User
from aieye.pipeline import service as pipelines
from aieye.pipeline.executions import list_steps
from aieye.pipeline.run_queries import find_execution, list_executions, tell_to_end
from aieye.state import change
from aieye.ui import toasts
from aieye.ui.comparing import compare
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.shown_runs import STATUSES, ShownRun, as_text, shown_run, shown_step, waterfall_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MOST_STEPS: Final = 500
_LAST_RUNS: Final = 5
_ENDING: Final = "It is being ended."


@router.get("/pipelines/executions/{execution_id}")
async def show_execution(execution_id: str, visitor: RequireUser) -> Response:
    """One run with its steps; with `?with=` of another, both side by side."""
    other = visitor.here.get("with")
    async with visitor.state.database.read() as session:
        row = await find_execution(session, execution_id, actor=visitor.actor)
        values = await run_values(visitor, session, row)
        if other:
            second = await find_execution(session, other, actor=visitor.actor)
            compared = await run_values(visitor, session, second)
    if other:
        return page(
            visitor.request, "execution_compare.html",
            a=values, b=compared, comparison=compare(values, compared),
        )  # fmt: skip
    return page(visitor.request, "execution.html", **values)


async def last_runs(visitor: Visitor, session: AsyncSession, pipeline_id: int) -> list[ShownRun]:
    """The newest runs of a pipeline that one may see, as its page shows them."""
    rows = await list_executions(
        session, actor=visitor.actor, pipeline=str(pipeline_id), status=None, before=None,
        limit=_LAST_RUNS,
    )  # fmt: skip
    return [shown_run(row) for row in rows]


async def run_values(visitor: Visitor, session: AsyncSession, row: Execution) -> dict[str, Any]:
    """What the templates show of a run."""
    run = shown_run(row)
    rows = await list_steps(session, row.id)
    steps = [shown_step(one, row.started_at) for one in rows[:MOST_STEPS]]
    users = await _users(session, [row])
    before = await _before(session, visitor, row)
    return {
        "run": run,
        "who": users.get(row.user_id or 0, ""),
        "steps": steps,
        "steps_left_out": len(rows) - len(steps),
        "waterfall": waterfall_of(run, steps) if steps else "",
        "arguments": {name: as_text(value) for name, value in row.arguments.items()},
        "has_texts": row.has_texts,
        "output": as_text(row.output),
        "is_text": isinstance(row.output, str),
        "has_output": row.status == "done" and row.has_texts,
        "before": before,
    }


@router.post("/pipelines/executions/{execution_id}/cancel")
async def cancel(execution_id: str, visitor: RequireUser) -> Response:
    """Tell a run to end; one that is over stays as it is. With `?stay` the page goes on to tell of it."""
    state = visitor.state
    run = state.pipelines.open.find(execution_id)
    if run is not None and visitor.actor.may_see(run.user_id):
        # It may have no row yet.
        state.pipelines.open.cancel(execution_id)
        return _told(visitor, execution_id, _ENDING)
    async with state.database.read() as session:
        row = await find_execution(session, execution_id, actor=visitor.actor)
    if row.status != "running":
        return _told(visitor, row.id, "It was over already.")
    if not state.pipelines.open.cancel(row.run_id):
        async with change(state) as session:
            await tell_to_end(session, row.id)
    return _told(visitor, row.id, _ENDING)


def _told(visitor: Visitor, execution: int | str, said: str) -> Response:
    if visitor.here.get("stay") and "hx-request" in visitor.request.headers:
        answer = Response(None, 200, {"HX-Reswap": "none"})
        toasts.add_to_fragment(answer, said)
        return answer
    return go(visitor.request, f"/pipelines/executions/{execution}", toast=said)


@router.get("/pipelines/{pipeline_id}/executions")
async def show_executions(
    pipeline_id: int, visitor: RequireUser, cursor: Cursor = None
) -> Response:
    """The runs of a pipeline that one may see, the newest first; two that are ticked are compared."""
    here = visitor.here
    ticked = [value for name, value in here.params if name == "run" and value.isalnum()]
    if len(ticked) > 1:
        # The earlier one stands on the left.
        first, second = sorted(ticked[:2], key=lambda one: (len(one), one))
        return RedirectResponse(f"/pipelines/executions/{first}?with={second}", 303)
    status = next((one for one in STATUSES if one == here.get("status")), None)
    async with visitor.state.database.read() as session:
        saved = await pipelines.get_row(session, pipeline_id, actor=visitor.actor)
        rows = await list_executions(
            session, actor=visitor.actor, pipeline=str(pipeline_id), status=status,
            before=number_after(cursor, LARGEST_ID), limit=PAGE + 1,
        )  # fmt: skip
        users = await _users(session, rows[:PAGE])
    return page(
        visitor.request, "executions.html", saved=saved, chosen=status, statuses=STATUSES,
        runs=[shown_run(row) for row in rows[:PAGE]], users=users, next=next_cursor(rows),
        needs_two=bool(ticked or here.get("compare")),
    )  # fmt: skip


async def _users(session: AsyncSession, rows: Sequence[Execution]) -> Mapping[int, str]:
    ids = {row.user_id for row in rows if row.user_id is not None}
    found = await session.execute(select(User.id, User.email).where(User.id.in_(ids)))
    return {row.id: row.email for row in found}


async def _before(session: AsyncSession, visitor: Visitor, row: Execution) -> int | None:
    """The run before of the same pipeline, to compare it with."""
    if row.pipeline_id is None:
        return None
    found = await list_executions(
        session, actor=visitor.actor, pipeline=str(row.pipeline_id), status=None, before=row.id,
        limit=1,
    )  # fmt: skip
    return found[0].id if found else None
