"""The texts of pipelines' runs go when their days are over, as those of calls do; the rows stay.

They are what a run was given and gave, and the words of its errors, which may quote either. An error
keeps its code and its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.chunks import within
from aieye.db.engine import Database
from aieye.db.tables import Execution, ExecutionStep

# What one transaction empties: SQLite writes it in a tenth of a second or so.
CHUNK_RUNS = 500
CHUNK_BYTES = 4 * 2**20
# About what a step holds: its previews are cut off.
_STEP_BYTES: Final = 1_000
# Between two chunks, so that whoever waits for the write lock gets it.
_PAUSE_SECONDS = 0.01

NOT_KEPT: Final = "its text is not kept"


def without_text(error: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an error for good."""
    return {**error, "message": NOT_KEPT, **({"hint": None} if "hint" in error else {})}


async def remove_run_texts(database: Database, until: datetime) -> int:
    """Remove the texts of runs that began before `until` and are over; how many runs held some.

    Raises `DatabaseUnavailable`.
    """
    removed = 0
    while True:
        async with database.read() as session:
            ids = await _oldest(session, until)
        if not ids:
            return removed
        async with database.write() as session:
            removed += await _remove(session, ids)
        await asyncio.sleep(_PAUSE_SECONDS)


async def _oldest(session: AsyncSession, until: datetime) -> list[int]:
    steps = (
        select(func.count())
        .where(ExecutionStep.execution_id == Execution.id)
        .correlate(Execution)
        .scalar_subquery()
    )
    size = (
        func.length(Execution.arguments)
        + func.coalesce(func.length(Execution.output), 0)
        + steps * _STEP_BYTES
    )
    # A run that goes on writes at its end, and with it goes what it was given.
    statement = (
        select(Execution.id, size)
        .where(Execution.has_texts, Execution.started_at < until, Execution.status != "running")
        .order_by(Execution.started_at)
        .limit(CHUNK_RUNS)
    )
    return within(((id_, size) for id_, size in await session.execute(statement)), CHUNK_BYTES)


async def _remove(session: AsyncSession, ids: Sequence[int]) -> int:
    """Empty these runs and their steps, but those that another process is emptying; how many."""
    runs = (
        await session.execute(
            select(Execution.id, Execution.error)
            .where(Execution.id.in_(ids), Execution.has_texts)
            .with_for_update(skip_locked=True)
        )
    ).all()
    mine = [run.id for run in runs]
    steps = await session.execute(
        select(ExecutionStep.execution_id, ExecutionStep.number, ExecutionStep.error).where(
            ExecutionStep.execution_id.in_(mine), ExecutionStep.error.is_not(None)
        )
    )
    failed_steps = [
        {"of": id_, "at": number, "said": without_text(error)} for id_, number, error in steps
    ]
    failed = [{"of": id_, "said": without_text(error)} for id_, error in runs if error is not None]
    await session.execute(
        update(ExecutionStep)
        .where(ExecutionStep.execution_id.in_(mine))
        .values(arguments=None, output=None)
        .execution_options(synchronize_session=False)
    )
    await session.execute(
        update(Execution)
        .where(Execution.id.in_(mine))
        .values(arguments={}, output=None, has_texts=False)
        .execution_options(synchronize_session=False)
    )
    if failed:
        await session.execute(_CUT_RUN, failed)
    if failed_steps:
        await session.execute(_CUT_STEP, failed_steps)
    return len(mine)


_CUT_RUN = (
    update(Execution.__table__)  # type: ignore[arg-type] # declared as FromClause
    .where(Execution.id == bindparam("of"))
    .values(error=bindparam("said"))
)
_CUT_STEP = (
    update(ExecutionStep.__table__)  # type: ignore[arg-type] # declared as FromClause
    .where(ExecutionStep.execution_id == bindparam("of"), ExecutionStep.number == bindparam("at"))
    .values(error=bindparam("said"))
)
