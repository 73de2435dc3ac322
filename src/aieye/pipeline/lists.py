"""What lists of pipelines show beside them: their tags, and how their runs went."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.db.tables import Execution, Pipeline, PipelineTag


@dataclass(frozen=True, slots=True)
class Runs:
    """What runs of a pipeline came to. `cost_nano` is of those whose cost is known; of `unpriced`
    ones it is not, among which are none that were simulated."""

    count: int = 0
    unpriced: int = 0
    cost_nano: int = 0

    @property
    def known_cost_nano(self) -> int | None:
        """The cost; None when it is known of no run, which is not the same as nothing."""
        return None if 0 < self.count == self.unpriced else self.cost_nano


async def common_tags(session: AsyncSession, *, actor: Actor, limit: int) -> Sequence[str]:
    """The tags that most of the pipelines have which `actor` may see."""
    statement = (
        select(PipelineTag.tag)
        .join(Pipeline, Pipeline.id == PipelineTag.pipeline_id)
        .where(Pipeline.deleted_at.is_(None))
        .group_by(PipelineTag.tag)
        .order_by(func.count().desc(), PipelineTag.tag)
        .limit(limit)
    )
    if not actor.is_administrator:
        statement = statement.where(or_(Pipeline.is_shared, Pipeline.user_id == actor.user_id))
    return (await session.scalars(statement)).all()


async def last_runs(
    session: AsyncSession, pipeline_ids: Collection[int], *, actor: Actor
) -> Mapping[int, Execution]:
    """The newest run of each pipeline that `actor` may see, by the pipeline's id."""
    newest = (
        select(func.max(Execution.id))
        .where(*_of(pipeline_ids, actor))
        .group_by(Execution.pipeline_id)
    )
    rows = await session.scalars(select(Execution).where(Execution.id.in_(newest)))
    return {row.pipeline_id: row for row in rows if row.pipeline_id is not None}


async def runs_since(
    session: AsyncSession, pipeline_ids: Collection[int], since: datetime, *, actor: Actor
) -> Mapping[int, Runs]:
    """How many runs of each pipeline began since then, and what they cost."""
    statement: Select[int | None, int, int, int | None] = (
        select(
            Execution.pipeline_id, func.count(),
            func.sum(case((Execution.cost_nano.is_(None) & ~Execution.is_simulated, 1), else_=0)),
            func.sum(Execution.cost_nano),
        )
        .where(*_of(pipeline_ids, actor), Execution.started_at >= since)
        .group_by(Execution.pipeline_id)
    )  # fmt: skip
    return {
        id_: Runs(count, int(unpriced), int(cost or 0))
        for id_, count, unpriced, cost in await session.execute(statement)
        if id_ is not None
    }


def _of(pipeline_ids: Collection[int], actor: Actor) -> Sequence[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = [Execution.pipeline_id.in_(pipeline_ids)]
    if not actor.is_administrator:
        wanted.append(Execution.user_id == actor.user_id)
    return wanted
