"""Which pipelines call a function, a prompt, a preset or another pipeline.

A version counts while it may run: it is the newest, or a label names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.access.names import Kind
from aieye.db.tables import Pipeline, PipelineUse
from aieye.errors import Conflict

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Dependant:
    """A pipeline that calls something, by the number of the newest such version."""

    id: int
    name: str
    user_id: int
    version: int
    is_shared: bool


class InUse(Conflict):
    """Pipelines call it: to go on nevertheless has to be said."""

    code = "in_use"


async def find_dependants(session: AsyncSession, kind: Kind, object_id: int) -> Sequence[Dependant]:
    """The pipelines that call it, whoever owns them, by name."""
    rows = await session.execute(
        select(Pipeline, PipelineUse.number)
        .join(PipelineUse, PipelineUse.pipeline_id == Pipeline.id)
        .where(
            PipelineUse.kind == kind,
            PipelineUse.object_id == object_id,
            Pipeline.deleted_at.is_(None),
        )
        .order_by(Pipeline.name, PipelineUse.number.desc())
    )
    found: dict[int, Dependant] = {}
    for pipeline, number in rows:
        if number == pipeline.version or number in pipeline.labels.values():
            found.setdefault(
                pipeline.id,
                Dependant(pipeline.id, pipeline.name, pipeline.user_id, number, pipeline.is_shared),
            )
    return list(found.values())


def visible_to(actor: Actor, dependants: Sequence[Dependant]) -> Sequence[Dependant]:
    """Those that `actor` may know of."""
    return [one for one in dependants if one.is_shared or actor.may_see(one.user_id)]


async def refuse_while_used(
    session: AsyncSession, kind: Kind, object_id: int, *, actor: Actor, owner_id: int | None = None
) -> None:
    """Raise `InUse`, which names the pipelines that call it, as far as `actor` may know of them.

    With `owner_id`, whose own pipelines may call it anyway, only those of others count.
    """
    dependants = [
        one for one in await find_dependants(session, kind, object_id) if one.user_id != owner_id
    ]
    if not dependants:
        return
    names = [one.name for one in visible_to(actor, dependants)]
    listed = ", ".join(names[:_MOST_NAMED])
    others = len(dependants) - len(names[:_MOST_NAMED])
    if listed and others:
        listed += f" and {others} more"
    raise InUse(
        f"Pipelines call it: {listed or f'{others} of other users'}. Add force=true to go on."
    )
