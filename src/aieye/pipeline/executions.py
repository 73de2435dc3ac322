"""Runs of pipelines as they are kept: a row a run, a row a step, read and written.

A run that takes long has its row while it goes on, others get it at their end, together with their
steps. Values are kept redacted, and not at all where texts are not to be kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

import orjson
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.db.at_once import Rows
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import Execution, ExecutionStep
from aieye.errors import NotFound
from aieye.ledger.redact import redact
from aieye.ledger.run_texts import without_text
from aieye.pipeline.language.errors import Diagnostic
from aieye.pipeline.language.values import Json
from aieye.pipeline.sizes import Unmeasurable, canonical
from aieye.pipeline.trace import PREVIEW_CHARACTERS, StepTrace, plus, preview

Status = Literal["running", "done", "failed", "cancelled", "interrupted"]

# Of a run with more steps, the first ones are kept.
MOST_STEPS: Final = 5_000
_EXECUTIONS: Final = cast("Table", Execution.__table__)
_STEPS: Final = cast("Table", ExecutionStep.__table__)
_RUNS_LOOKED_AT: Final = 20
_ITEM: Final = re.compile(r"\[[0-9]+\]")


class NoSuchExecution(NotFound):
    """There is no such run, or it is another's."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a run used. Money is nano-dollars, None where a step's is not known; `is_simulated` where
    each such step was and no other cost anything."""

    tokens_input: int = 0
    tokens_output: int = 0
    cost_nano: int | None = 0
    cost_input_nano: int | None = 0
    saved_nano: int = 0
    is_simulated: bool = False

    @classmethod
    def of(cls, trace: Iterable[StepTrace]) -> Totals:
        tokens_input = tokens_output = saved_nano = 0
        cost_nano: int | None = 0
        cost_input_nano: int | None = 0
        misses_price = is_paid = False
        for step in trace:
            tokens_input += step.tokens_input
            tokens_output += step.tokens_output
            cost_nano = plus(cost_nano, step.cost_nano)
            cost_input_nano = plus(cost_input_nano, step.cost_input_nano)
            saved_nano += step.saved_nano
            misses_price |= step.misses_price
            is_paid |= bool(step.cost_nano)
        is_simulated = cost_nano is None and not misses_price and not is_paid
        return cls(
            tokens_input, tokens_output, cost_nano, cost_input_nano, saved_nano, is_simulated
        )

    def by_column(self) -> dict[str, Any]:
        """As a run's row has them."""
        return {
            "tokens_input": self.tokens_input,
            "tokens_output": self.tokens_output,
            "cost_nano": self.cost_nano,
            "cost_input_nano": self.cost_input_nano,
            "saved_nano": self.saved_nano,
            "is_simulated": self.is_simulated,
        }


@dataclass(frozen=True, slots=True)
class Run:
    """A run as it begins."""

    run_id: str
    instance_id: str
    pipeline_id: int | None
    pipeline_version: int | None
    pipeline: str | None
    user_id: int
    token_id: int | None
    key_id: int | None
    arguments: Mapping[str, Json]
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Past:
    """What a step has used on the average, in tokens."""

    tokens_input: int
    tokens_output: int


async def open_run(session: AsyncSession, run: Run, *, keeps_values: bool) -> int:
    """Note that a run has begun; its id."""
    row = Execution(**_begun(run, keeps_values=keeps_values), status="running")
    session.add(row)
    await session.flush()
    return row.id


def end_run(
    rows: Rows,
    run: Run,
    execution_id: int | None,
    *,
    status: Status,
    ended_at: datetime,
    output: Json,
    error: Diagnostic | None,
    trace: Sequence[StepTrace],
    totals: Totals,
    keeps_values: bool,
) -> int:
    """Write how a run ended, and its steps; its id. `execution_id` is that of `open_run`, if any."""
    ended = {
        "status": status,
        "ended_at": ended_at,
        "output": kept(output) if keeps_values else None,
        "error": None
        if error is None
        else _error(error.code, error.message, error, keeps_values=keeps_values),
        **totals.by_column(),
    }
    row_id = execution_id
    # One that is gone meanwhile is written anew.
    if row_id is None or not rows.update(_EXECUTIONS, row_id, ended):
        row_id = rows.insert(_EXECUTIONS, {**_begun(run, keeps_values=keeps_values), **ended})
    steps = [
        _step(row_id, number, step, keeps_values=keeps_values)
        for number, step in enumerate(trace[:MOST_STEPS])
    ]
    rows.insert_all(_STEPS, steps)
    return row_id


async def get_execution(session: AsyncSession, execution_id: int, *, actor: Actor) -> Execution:
    """A run. Raises `NoSuchExecution`, also when it is another's."""
    row = await session.get(Execution, execution_id) if 0 < execution_id <= LARGEST_ID else None
    if row is None or not actor.may_see(row.user_id):
        raise NoSuchExecution(f"There is no execution {execution_id}.")
    return row


async def find_latest(
    session: AsyncSession, pipeline_id: int, *, user_id: int | None
) -> Execution | None:
    """The newest run of a pipeline that the user started."""
    statement = select(Execution).where(
        Execution.pipeline_id == pipeline_id, Execution.user_id == user_id
    )
    return await session.scalar(statement.order_by(Execution.id.desc()).limit(1))


async def list_steps(session: AsyncSession, execution_id: int) -> Sequence[ExecutionStep]:
    """The steps of a run, in the order in which they were queued."""
    statement = select(ExecutionStep).where(ExecutionStep.execution_id == execution_id)
    return (await session.scalars(statement.order_by(ExecutionStep.number))).all()


async def past_steps(session: AsyncSession, pipeline_id: int) -> Mapping[str, Past]:
    """The average tokens of a pipeline's calls of models in its newest runs, by their paths.

    Calls that a cache answered used as many: they count too.
    """
    newest = (
        select(Execution.id)
        .where(Execution.pipeline_id == pipeline_id, Execution.status == "done")
        .order_by(Execution.id.desc())
        .limit(_RUNS_LOOKED_AT)
    )
    rows = await session.execute(
        select(
            ExecutionStep.path,
            func.count(),
            func.sum(ExecutionStep.tokens_input),
            func.sum(ExecutionStep.tokens_output),
        )
        .where(
            ExecutionStep.execution_id.in_(newest),
            ExecutionStep.status == "done",
            ExecutionStep.model.is_not(None),
        )
        .group_by(ExecutionStep.path)
    )
    sums: dict[str, tuple[int, int, int]] = {}
    for path, *figures in rows:
        # The items of a `map` are one call of the plan.
        place = _ITEM.sub("", path)
        before = sums.get(place, (0, 0, 0))
        count, used, made = (int(figure or 0) for figure in figures)
        sums[place] = before[0] + count, before[1] + used, before[2] + made
    return {
        path: Past(round(used / count), round(made / count))
        for path, (count, used, made) in sums.items()
    }


def kept(value: Json) -> Json:
    """A value as it is kept: redacted; one that cannot be written as JSON is shown as text."""
    try:
        found: Json = orjson.loads(redact(canonical(value)))
    except (Unmeasurable, orjson.JSONDecodeError):
        return preview(value).encode("utf-8", "replace").decode()
    return found


def shown(value: Json) -> Json:
    """A value as it is kept of a step: itself if it is short, else its beginning as text."""
    text = preview(value)
    is_whole = len(text) < PREVIEW_CHARACTERS
    return kept(value if is_whole else text)


def _begun(run: Run, *, keeps_values: bool) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "instance_id": run.instance_id,
        "pipeline_id": run.pipeline_id,
        "pipeline_version": run.pipeline_version,
        "pipeline": run.pipeline,
        "user_id": run.user_id,
        "token_id": run.token_id,
        "key_id": run.key_id,
        "started_at": run.started_at,
        "has_texts": keeps_values,
        "arguments": kept(dict(run.arguments)) if keeps_values else {},
    }


def _step(execution_id: int, number: int, step: StepTrace, *, keeps_values: bool) -> dict[str, Any]:
    is_done = step.status == "done"
    return {
        "execution_id": execution_id,
        "number": number,
        "path": step.path,
        "name": step.name,
        "kind": step.kind,
        "span_start": step.place.start,
        "span_end": step.place.end,
        "status": step.status,
        "attempts": step.attempts,
        "queued_at": _moment(step.queued_at),
        "started_at": _moment(step.started_at),
        "ended_at": _moment(step.ended_at),
        "cache": step.cache,
        "arguments": {name: shown(value) for name, value in step.arguments.items()}
        if keeps_values
        else None,
        "output": shown(step.value) if keeps_values and is_done else None,
        "error": None
        if step.error is None
        else _error(step.error_code, step.error, keeps_values=keeps_values),
        "model": step.model,
        "tokens_input": step.tokens_input,
        "tokens_output": step.tokens_output,
        "cost_nano": step.cost_nano,
        "cost_input_nano": step.cost_input_nano,
        "saved_nano": step.saved_nano,
        "is_simulated": step.is_simulated,
    }


def _error(
    code: str | None, message: str, found: Diagnostic | None = None, *, keeps_values: bool
) -> Any:
    """What went wrong. What a provider or a function said may hold a secret, or quote a value."""
    error = {**({} if found is None else found.as_dict()), "code": code, "message": message}
    return kept(error) if keeps_values else without_text(error)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
