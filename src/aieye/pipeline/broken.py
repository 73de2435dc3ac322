"""Which pipelines cannot run as they stand: something that they call, however deep, is gone or changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Pipeline, PipelineVersion
from aieye.pipeline.catalogue import definitions_of
from aieye.pipeline.language.catalogue import Catalogue
from aieye.pipeline.language.limits import MAX_PIPELINE_DEPTH
from aieye.pipeline.resolution import faults_of
from aieye.pipeline.stored import StoredBinding, read_bindings, references_of

# What they call deeper than so many pipelines is not looked at, for a list must not wait for it.
_MOST_LOOKED_AT: Final = 500


async def find_broken(
    session: AsyncSession, functions: Catalogue, rows: Sequence[Pipeline]
) -> frozenset[int]:
    """The ids of those of `rows` whose version that runs cannot, each seen with its owner's rights.

    No text is read: what was bound when it was saved is enough.
    """
    calls: dict[int, set[int]] = {}
    broken: set[int] = set()
    level = rows
    for _ in range(MAX_PIPELINE_DEPTH):
        bindings = await _bindings(session, level)
        broken |= await _faulty(session, functions, level, bindings)
        calls |= {row.id: _called(bindings.get(row.id, ())) for row in level}
        missing = {one for row in level for one in calls[row.id]} - calls.keys()
        if not missing or len(calls) + len(missing) > _MOST_LOOKED_AT:
            break
        level = (await session.scalars(select(Pipeline).where(Pipeline.id.in_(missing)))).all()
    return frozenset(row.id for row in rows if _leads_to(row.id, calls, broken))


async def _bindings(
    session: AsyncSession, rows: Iterable[Pipeline]
) -> Mapping[int, Sequence[StoredBinding]]:
    version = tuple_(PipelineVersion.pipeline_id, PipelineVersion.number)
    found = await session.execute(
        select(PipelineVersion.pipeline_id, PipelineVersion.bindings).where(
            version.in_([(row.id, row.served_version) for row in rows])
        )
    )
    return {id_: read_bindings(written) for id_, written in found}


async def _faulty(
    session: AsyncSession,
    functions: Catalogue,
    rows: Iterable[Pipeline],
    bindings: Mapping[int, Sequence[StoredBinding]],
) -> set[int]:
    """Those of which a callee itself is not what it was."""
    by_owner: defaultdict[int, list[int]] = defaultdict(list)
    for row in rows:
        by_owner[row.user_id].append(row.id)
    faulty: set[int] = set()
    for owner_id, ids in by_owner.items():
        called = references_of(one for id_ in ids for one in bindings.get(id_, ()))
        found = await definitions_of(session, functions, owner_id, called)
        faulty |= {id_ for id_ in ids if faults_of(bindings.get(id_, ()), found, functions)}
    return faulty


def _called(bindings: Iterable[StoredBinding]) -> set[int]:
    return {id_ for kind, id_ in references_of(bindings) if kind == "pipeline"}


def _leads_to(start: int, calls: Mapping[int, set[int]], ends: set[int]) -> bool:
    seen: set[int] = set()
    waiting = {start}
    while waiting:
        if waiting & ends:
            return True
        seen |= waiting
        waiting = {one for id_ in waiting for one in calls.get(id_, ())} - seen
    return False
