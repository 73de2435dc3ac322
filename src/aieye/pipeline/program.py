"""A pipeline with all that it calls, however deep, as it is when it starts: what a run is made of.

A run reads the database once; an edit meanwhile reaches the next run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Pipeline
from aieye.pipeline import repository
from aieye.pipeline.language.catalogue import Catalogue
from aieye.pipeline.language.errors import Diagnostic, InvalidPipeline
from aieye.pipeline.language.limits import MAX_PIPELINE_DEPTH
from aieye.pipeline.resolution import Resolved, resolve
from aieye.presets.models import Preset
from aieye.presets.service import served_presets
from aieye.prompts.models import SavedPrompt
from aieye.prompts.service import served_prompts


@dataclass(frozen=True, slots=True)
class Program:
    """`main`, and by their ids the pipelines, prompts and presets that it calls, each as it runs."""

    main: Resolved
    pipelines: Mapping[int, Resolved]
    prompts: Mapping[int, SavedPrompt]
    presets: Mapping[int, Preset]


async def load_program(
    session: AsyncSession, functions: Catalogue, row: Pipeline, *, version: int | None = None
) -> Program:
    """The program of a pipeline, in the version that runs unless another is asked for.

    Rights are each pipeline's owner's; whether the caller may call `row` is for the caller of this
    to say. Raises `InvalidPipeline`, `NotFound`.
    """
    number = row.served_version if version is None else version
    found = await repository.get_version(session, row, number)
    main = (await resolve(session, functions, row, found)).require_valid()
    return await complete(session, functions, main)


async def complete(session: AsyncSession, functions: Catalogue, main: Resolved) -> Program:
    """The program of a pipeline that is resolved, saved or not. Raises `InvalidPipeline`."""
    pipelines: dict[int, Resolved] = {}
    level = [main]
    for _ in range(MAX_PIPELINE_DEPTH):
        missing = _called(level, "pipeline") - pipelines.keys()
        if not missing:
            break
        level = await _resolve_all(session, functions, missing)
        pipelines |= {one.id: one for one in level}
    else:
        if _called(level, "pipeline"):
            message = f"pipelines call pipelines more than {MAX_PIPELINE_DEPTH} deep"
            raise InvalidPipeline(Diagnostic.nowhere("E508", message))
    found = (main, *pipelines.values())
    prompts = await served_prompts(session, _called(found, "prompt"))
    presets = await served_presets(session, _called(found, "preset"))
    return Program(main, pipelines, prompts, presets)


async def _resolve_all(
    session: AsyncSession, functions: Catalogue, pipeline_ids: set[int]
) -> list[Resolved]:
    rows = (await session.scalars(select(Pipeline).where(Pipeline.id.in_(pipeline_ids)))).all()
    versions = await repository.versions_of(session, {row.id: row.served_version for row in rows})
    return [_inner(await resolve(session, functions, row, versions[row.id])) for row in rows]


def _inner(resolved: Resolved) -> Resolved:
    """Itself, unless it cannot run: its places mean nothing in the text that calls it."""
    if not resolved.analysis.is_valid:
        raise InvalidPipeline(
            *(
                Diagnostic.nowhere(one.code, f"in '{resolved.name}': {one.message}", one.hint)
                for one in resolved.analysis.diagnostics
                if one.is_error
            )
        )
    return resolved


def _called(pipelines: Iterable[Resolved], kind: str) -> set[int]:
    """The ids of what they call of this kind."""
    definitions = (
        binding.definition for one in pipelines for binding in one.analysis.bindings.values()
    )
    return {one.id for one in definitions if one.kind == kind and isinstance(one.id, int)}
