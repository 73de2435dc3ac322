"""Runs of pipelines as they are looked for: by their ids, in lists, and those that are told to end.

A run that goes on has no error: one with an error was told to end, by a process that it is not of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import Execution, Pipeline
from aieye.pipeline.evaluator import CANCELLED
from aieye.pipeline.executions import NoSuchExecution, Status

ShownStatus = Literal["running", "cancelling", "done", "failed", "cancelled", "interrupted"]

NONE_SUCH: Final = "There is no such execution."
_TOLD: Final = {"code": "E503", "message": CANCELLED}
_RUNNING: Final[Status] = "running"


def status_of(row: Execution) -> ShownStatus:
    """How a run goes or ended."""
    if row.status == _RUNNING and row.error is not None:
        return "cancelling"
    shown: ShownStatus = row.status  # type: ignore[assignment] # written by `executions` alone
    return shown


async def find_execution(session: AsyncSession, reference: str, *, actor: Actor) -> Execution:
    """A run by its id, or by its run id. Raises `NoSuchExecution`, also when it is another's."""
    row = None
    # Of other characters no id is made, and some a database does not even take.
    if reference.isascii() and reference.isalnum():
        row = await session.scalar(select(Execution).where(_is_named(reference)))
    if row is None or not actor.may_see(row.user_id):
        raise NoSuchExecution(NONE_SUCH)
    return row


async def list_executions(
    session: AsyncSession,
    *,
    actor: Actor,
    pipeline: str | None,
    status: ShownStatus | None,
    before: int | None,
    limit: int,
) -> Sequence[Execution]:
    """Runs that the actor may see, the newest first. `pipeline` is a name or an id."""
    statement = select(Execution)
    if not actor.is_administrator:
        statement = statement.where(Execution.user_id == actor.user_id)
    if pipeline is not None:
        statement = statement.where(_is_of(pipeline))
    if status == "cancelling":
        statement = statement.where(Execution.status == _RUNNING, Execution.error.is_not(None))
    elif status == _RUNNING:
        statement = statement.where(Execution.status == _RUNNING, Execution.error.is_(None))
    elif status is not None:
        statement = statement.where(Execution.status == status)
    if before is not None:
        statement = statement.where(Execution.id < before)
    return (await session.scalars(statement.order_by(Execution.id.desc()).limit(limit))).all()


async def tell_to_end(session: AsyncSession, execution_id: int) -> None:
    """Leave word for the process that a run is of; one that is over stays as it is."""
    await session.execute(
        update(Execution)
        .where(Execution.id == execution_id, Execution.status == _RUNNING)
        .values(error=_TOLD)
        .execution_options(synchronize_session=False)
    )


async def told_to_end(session: AsyncSession, run_ids: Sequence[str]) -> Sequence[str]:
    """Those of the runs for which there is word that they are to end."""
    statement = select(Execution.run_id).where(
        Execution.run_id.in_(run_ids), Execution.status == _RUNNING, Execution.error.is_not(None)
    )
    return (await session.scalars(statement)).all()


def _is_named(reference: str) -> ColumnElement[bool]:
    id_ = _number(reference)
    return Execution.run_id == reference if id_ is None else Execution.id == id_


def _is_of(pipeline: str) -> ColumnElement[bool]:
    """Of the pipeline with that id, or of whichever has, or had when it was deleted, that name."""
    id_ = _number(pipeline)
    if id_ is not None:
        return Execution.pipeline_id == id_
    return Execution.pipeline_id.in_(select(Pipeline.id).where(Pipeline.name == pipeline))


def _number(text: str) -> int | None:
    """An id: no name is a number, and a run's id has 32 digits."""
    is_number = text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST_ID))
    return min(int(text), LARGEST_ID) if is_number else None
