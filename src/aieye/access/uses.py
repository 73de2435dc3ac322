"""Which pipelines call a function, a prompt, a preset or another pipeline.

A version counts while it may run: it is the newest, or a label names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Row, Select, Text, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.access.names import Kind
from aieye.db.tables import Pipeline, PipelineUse, PipelineVersion
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


@dataclass(frozen=True, slots=True)
class Signature:
    """What something takes, and what of that has to be given."""

    names: frozenset[str]
    required: frozenset[str]

    def fits(self, given: frozenset[str]) -> bool:
        """Whether it can be called with these."""
        return self.required <= given <= self.names


class InUse(Conflict):
    """Pipelines call it: to go on nevertheless has to be said. `reason` is why, without the how."""

    code = "in_use"

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} Add force=true to go on.")
        self.reason = reason


async def find_dependants(session: AsyncSession, kind: Kind, object_id: int) -> Sequence[Dependant]:
    """The pipelines that call it, whoever owns them, by name."""
    found: dict[int, Dependant] = {}
    for row in await session.execute(_uses(kind, object_id)):
        if row.id not in found and _may_run(row):
            found[row.id] = _dependant(row)
    return list(found.values())


async def count_dependants(
    session: AsyncSession, kind: Kind, object_ids: Collection[int]
) -> Mapping[int, int]:
    """How many pipelines call each, whoever owns them; those that none calls are left out."""
    if not object_ids:
        return {}
    found: dict[int, set[int]] = {}
    for row in await session.execute(_calling(kind, object_ids)):
        if _may_run(row):
            found.setdefault(row.object_id, set()).add(row.id)
    return {object_id: len(pipelines) for object_id, pipelines in found.items()}


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
    raise InUse(f"Pipelines call it: {_named(dependants, actor)}.")


async def refuse_breaking(
    session: AsyncSession,
    kind: Kind,
    object_id: int,
    before: Signature,
    after: Signature,
    *,
    actor: Actor,
) -> None:
    """Raise `InUse` if pipelines call it as it could be called `before` and cannot be `after`."""
    statement = (
        _uses(kind, object_id)
        .add_columns(PipelineVersion.bindings)
        .join(
            PipelineVersion,
            (PipelineVersion.pipeline_id == PipelineUse.pipeline_id)
            & (PipelineVersion.number == PipelineUse.number),
        )
    )
    broken: dict[int, Dependant] = {}
    for row in await session.execute(statement):
        if not _may_run(row):
            continue
        calls = [
            frozenset(one["parameters"])
            for one in row.bindings
            if (one["kind"], one["id"]) == (kind, object_id)
        ]
        if any(before.fits(given) and not after.fits(given) for given in calls):
            broken.setdefault(row.id, _dependant(row))
    if broken:
        raise InUse(
            f"Pipelines would fail, for {_difference(before, after)}: "
            f"{_named(list(broken.values()), actor)}."
        )


def _difference(before: Signature, after: Signature) -> str:
    gone, new = before.names - after.names, after.required - before.required
    said = []
    if gone:
        said.append(f"it takes no {_quoted(gone)} any more")
    if new:
        said.append(f"it asks for {_quoted(new)} too")
    return " and ".join(said)


def _quoted(names: Iterable[str]) -> str:
    found = sorted(names)
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return ", ".join(f"'{name}'" for name in found[:_MOST_NAMED]) + more


def _named(dependants: Sequence[Dependant], actor: Actor) -> str:
    """Their names as far as `actor` may know them, and how many more there are."""
    names = [one.name for one in visible_to(actor, dependants)]
    listed = ", ".join(names[:_MOST_NAMED])
    others = len(dependants) - len(names[:_MOST_NAMED])
    if listed and others:
        listed += f" and {others} more"
    return listed or f"{others} of other users"


def _uses(kind: Kind, object_id: int) -> Select[*tuple[Any, ...]]:
    """The versions that call it, with what is told of their pipelines: by name, the newest first."""
    statement = _calling(kind, (object_id,)).add_columns(
        Pipeline.name, Pipeline.user_id, Pipeline.is_shared
    )
    return statement.order_by(Pipeline.name, PipelineUse.number.desc())


def _calling(kind: Kind, object_ids: Collection[int]) -> Select[*tuple[Any, ...]]:
    """The versions that call one of them. Columns alone: much used ones have thousands of callers."""
    return (
        select(
            PipelineUse.object_id,
            PipelineUse.number,
            Pipeline.id,
            Pipeline.version,
            type_coerce(Pipeline.labels, Text).label("labels"),
        )
        .join(Pipeline, Pipeline.id == PipelineUse.pipeline_id)
        .where(
            PipelineUse.kind == kind,
            PipelineUse.object_id.in_(object_ids),
            Pipeline.deleted_at.is_(None),
        )
    )


def _may_run(row: Row[Any]) -> bool:
    is_newest: bool = row.number == row.version
    # Most have no labels: a text that is not read is the better part of such a look.
    return is_newest or (row.labels != "{}" and row.number in orjson.loads(row.labels).values())


def _dependant(row: Row[Any]) -> Dependant:
    return Dependant(row.id, row.name, row.user_id, row.number, row.is_shared)
