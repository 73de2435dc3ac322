"""What becomes a version of a saved pipeline: checked against what its owner may use, never in a circle."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Pipeline, PipelineVersion
from aieye.pipeline.catalogue import against_usable, catalogue_of
from aieye.pipeline.checking import check_valid
from aieye.pipeline.language.catalogue import Catalogue
from aieye.pipeline.language.errors import Diagnostic, InvalidPipeline
from aieye.pipeline.language.graph import find_cycle, is_too_deep
from aieye.pipeline.language.limits import MAX_PIPELINE_DEPTH
from aieye.pipeline.stored import bindings_of, write_arguments, write_bindings


async def checked_version(
    session: AsyncSession, functions: Catalogue, row: Pipeline, source: str
) -> PipelineVersion:
    """A version with this text, not stored yet. Raises `InvalidPipeline`."""
    tree, analysis = await against_usable(
        session, functions, row.user_id, source, check_valid, row.name
    )
    return PipelineVersion(
        source=tree.source.text,
        arguments=write_arguments(analysis.arguments),
        bindings=write_bindings(bindings_of(analysis)),
        diagnostics=[found.as_dict() for found in analysis.diagnostics],
    )


def said(version: PipelineVersion) -> tuple[object, ...]:
    """What makes it another version than one before: text, arguments, and what they are bound to."""
    return version.source, version.arguments, version.bindings


async def refuse_cycles(session: AsyncSession, functions: Catalogue, row: Pipeline) -> None:
    """Raise `InvalidPipeline` while what runs of `row` leads back to it, or too deep."""
    catalogue = await catalogue_of(session, functions, row.user_id, row.name, is_whole=False)
    for callee in catalogue[row.name].calls:
        way = find_cycle(callee, row.name, catalogue)
        if way is not None:
            message = f"pipelines call each other: {' -> '.join(way)}"
            raise InvalidPipeline(Diagnostic.nowhere("E205", message))
        if is_too_deep(callee, catalogue):
            message = f"pipelines call pipelines more than {MAX_PIPELINE_DEPTH} deep"
            raise InvalidPipeline(Diagnostic.nowhere("E508", message))
