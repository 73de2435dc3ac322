"""Rows of pipelines: their versions, what those call, and tags."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, delete, exists, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor
from aieye.db.tables import Pipeline, PipelineTag, PipelineUse, PipelineVersion
from aieye.pipeline.stored import read_bindings, references_of


async def get_version(session: AsyncSession, row: Pipeline, number: int) -> PipelineVersion:
    """A version of the pipeline. Raises `NotFound`."""
    key = (row.id, authored.check_number(row, number))
    version = await session.get(PipelineVersion, key)
    assert version is not None
    return version


async def versions_of(
    session: AsyncSession, numbers: Mapping[int, int]
) -> Mapping[int, PipelineVersion]:
    """One version of each pipeline, by the pipeline's id."""
    key = tuple_(PipelineVersion.pipeline_id, PipelineVersion.number)
    rows = await session.scalars(select(PipelineVersion).where(key.in_(list(numbers.items()))))
    return {version.pipeline_id: version for version in rows}


async def add_version(
    session: AsyncSession, row: Pipeline, version: PipelineVersion, actor: Actor
) -> None:
    """Make `version` the newest of the pipeline, and note what it calls."""
    version.pipeline_id, version.number = row.id, authored.number_next(row)
    version.created_by = actor.user_id
    session.add(version)
    for kind, object_id in references_of(read_bindings(version.bindings)):
        session.add(
            PipelineUse(pipeline_id=row.id, number=version.number, kind=kind, object_id=object_id)
        )
    await session.flush()


async def tags_of(
    session: AsyncSession, pipeline_ids: Collection[int]
) -> Mapping[int, Sequence[str]]:
    """The tags of each pipeline, in the order in which they were given."""
    rows = await session.scalars(
        select(PipelineTag)
        .where(PipelineTag.pipeline_id.in_(pipeline_ids))
        .order_by(PipelineTag.position)
    )
    found: defaultdict[int, list[str]] = defaultdict(list)
    for row in rows:
        found[row.pipeline_id].append(row.tag)
    return found


async def replace_tags(session: AsyncSession, pipeline_id: int, tags: Sequence[str]) -> None:
    await session.execute(delete(PipelineTag).where(PipelineTag.pipeline_id == pipeline_id))
    session.add_all(
        PipelineTag(pipeline_id=pipeline_id, tag=tag, position=position)
        for position, tag in enumerate(tags)
    )
    await session.flush()


def has_tag(tag: str) -> ColumnElement[bool]:
    return exists().where(PipelineTag.pipeline_id == Pipeline.id, PipelineTag.tag == tag)
