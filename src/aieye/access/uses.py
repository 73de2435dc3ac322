"""Which pipelines call a function, a prompt, a preset or another pipeline.

A version counts while it may run: it is the newest, or a label names it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, Text, cast, func, literal, or_, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.access.names import Kind
from aieye.db.tables import Pipeline, PipelineUse, PipelineVersion
from aieye.errors import Conflict

# What a page or a message tells of is some of so many callers: nobody reads a thousand names.
MOST_LOOKED_AT = 1_000
# How callers call it is read of so many at a time.
_READ_AT_ONCE = 200
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


async def find_dependants(
    session: AsyncSession,
    kind: Kind,
    object_id: int,
    *,
    beside: int | None = None,
    limit: int | None = None,
    first: int | None = None,
) -> Sequence[Dependant]:
    """The pipelines that call it, whoever owns them but the user `beside`, by name.

    Of what is much used `limit` bounds how many are looked at: some of them are told then, those of
    the user `first` before those of others.
    """
    statement = _calling(kind, (object_id,))
    if beside is not None:
        statement = statement.where(Pipeline.user_id != beside)
    of = statement.subquery().c
    # A pipeline is one caller, however many of its versions may run.
    callers: Select[*tuple[Any, ...]] = select(
        of.id, of.name, of.user_id, func.max(of.number).label("number"), of.is_shared
    ).group_by(of.id, of.name, of.user_id, of.is_shared)
    if limit is not None:
        callers = callers.order_by((of.user_id == first).desc(), of.id).limit(limit)
    rows = (await session.execute(callers)).all()
    return [_dependant(row) for row in sorted(rows, key=lambda one: one.name)]


async def count_dependants(
    session: AsyncSession, kind: Kind, object_ids: Collection[int]
) -> Mapping[int, int]:
    """How many pipelines call each, whoever owns them; those that none calls are left out."""
    if not object_ids:
        return {}
    of = _calling(kind, object_ids).subquery().c
    pipelines = func.count(of.id.distinct()).label("pipelines")
    rows = await session.execute(select(of.object_id, pipelines).group_by(of.object_id))
    return {row.object_id: row.pipelines for row in rows}


def visible_to(actor: Actor, dependants: Sequence[Dependant]) -> Sequence[Dependant]:
    """Those that `actor` may know of."""
    return [one for one in dependants if one.is_shared or actor.may_see(one.user_id)]


async def refuse_while_used(
    session: AsyncSession, kind: Kind, object_id: int, *, actor: Actor, owner_id: int | None = None
) -> None:
    """Raise `InUse`, which names the pipelines that call it, as far as `actor` may know of them.

    With `owner_id`, whose own pipelines may call it anyway, only those of others count.
    """
    dependants = await find_dependants(
        session, kind, object_id, beside=owner_id, limit=MOST_LOOKED_AT, first=actor.user_id
    )
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
    """Raise `InUse` if pipelines call it as it could be called `before` and cannot be `after`.

    Of what is much used some of those are told: no more of how it is called is read.
    """
    if after.required <= before.required and before.names <= after.names:
        return
    of = _calling(kind, (object_id,)).subquery().c
    callers = select(of.id).group_by(of.id, of.user_id)
    ids = (
        await session.scalars(callers.order_by((of.user_id == actor.user_id).desc(), of.id))
    ).all()
    broken: list[Dependant] = []
    for start in range(0, len(ids), _READ_AT_ONCE):
        broken += await _broken(
            session, kind, object_id, ids[start : start + _READ_AT_ONCE], before, after
        )
        if len(broken) >= MOST_LOOKED_AT:
            break
    if broken:
        named = sorted(broken, key=lambda one: one.name)
        raise InUse(
            f"Pipelines would fail, for {_difference(before, after)}: {_named(named, actor)}."
        )


async def _broken(
    session: AsyncSession,
    kind: Kind,
    object_id: int,
    pipeline_ids: Sequence[int],
    before: Signature,
    after: Signature,
) -> Sequence[Dependant]:
    """Those of the pipelines that call it as it cannot be called any more."""
    statement = (
        _calling(kind, (object_id,))
        .add_columns(PipelineVersion.bindings)
        .join(
            PipelineVersion,
            (PipelineVersion.pipeline_id == PipelineUse.pipeline_id)
            & (PipelineVersion.number == PipelineUse.number),
        )
        .where(Pipeline.id.in_(pipeline_ids))
        .order_by(Pipeline.id, PipelineUse.number.desc())
    )
    broken: dict[int, Dependant] = {}
    for row in await session.execute(statement):
        calls = [
            frozenset(one["parameters"])
            for one in row.bindings
            if (one["kind"], one["id"]) == (kind, object_id)
        ]
        if any(before.fits(given) and not after.fits(given) for given in calls):
            broken.setdefault(row.id, _dependant(row))
    return list(broken.values())


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
    least = "at least " if len(dependants) >= MOST_LOOKED_AT else ""
    if listed and others:
        listed += f" and {least}{others} more"
    return listed or f"{least}{others} of other users"


def _calling(kind: Kind, object_ids: Collection[int]) -> Select[*tuple[Any, ...]]:
    """The versions that call one of them and may run, with what is told of their pipelines.

    Columns alone, and what may run found out by the database: of what is much used there are
    thousands of callers, with their versions ten thousands.
    """
    # Labels are a compact JSON object whose names have neither colon nor brace.
    number = literal("%:").concat(cast(PipelineUse.number, Text))
    labels = type_coerce(Pipeline.labels, Text)
    is_labelled = or_(labels.like(number.concat(",%")), labels.like(number.concat("}%")))
    return (
        select(
            PipelineUse.object_id,
            PipelineUse.number,
            Pipeline.id,
            Pipeline.name,
            Pipeline.user_id,
            Pipeline.is_shared,
        )
        .join(Pipeline, Pipeline.id == PipelineUse.pipeline_id)
        .where(
            PipelineUse.kind == kind,
            PipelineUse.object_id.in_(object_ids),
            Pipeline.deleted_at.is_(None),
            or_(PipelineUse.number == Pipeline.version, is_labelled),
        )
    )


def _dependant(row: Row[Any]) -> Dependant:
    return Dependant(row.id, row.name, row.user_id, row.number, row.is_shared)
