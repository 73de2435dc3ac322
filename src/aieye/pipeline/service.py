"""Saved pipelines as their owners change them: checked, in versions, never in a circle.

`functions` are the registered functions by name, as definitions. A pipeline is checked against what
its owner may use, whoever saves it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypedDict

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor, record
from aieye.access.uses import Signature, refuse_breaking
from aieye.db.engine import bump_revision
from aieye.db.rows import keyset
from aieye.db.tables import Pipeline, PipelineVersion
from aieye.errors import NotFound, Unprocessable
from aieye.pipeline import repository
from aieye.pipeline.catalogue import against_usable
from aieye.pipeline.checking import Checked, check
from aieye.pipeline.language.catalogue import Catalogue
from aieye.pipeline.models import SavedPipeline
from aieye.pipeline.resolution import resolve
from aieye.pipeline.stored import read_arguments
from aieye.pipeline.versions import checked_version, refuse_cycles, said

MAX_TAGS = 20
MAX_TAG_CHARACTERS = 50


class PipelineChanges(TypedDict, total=False):
    """What of a pipeline may be changed; what is left out stays."""

    name: str
    source: str
    tags: Sequence[str]
    shared: bool


async def check_source(
    session: AsyncSession,
    functions: Catalogue,
    source: str,
    *,
    actor: Actor,
    name: str | None = None,
) -> Checked:
    """What saving the text would find; as the pipeline `name` if `actor` has one of that name."""
    owner_id = await authored.owner_of_new(session, actor)
    if name is not None and (saved := await _find_named(session, name)) is not None:
        owner_id = saved.user_id if actor.may_see(saved.user_id) else owner_id
    return await against_usable(session, functions, owner_id, source, check, name)


async def list_pipelines(
    session: AsyncSession,
    *,
    actor: Actor,
    name: str | None = None,
    tag: str | None = None,
    user_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[SavedPipeline]:
    """The pipelines that `actor` may see, the oldest first, each with its newest version."""
    where = None if tag is None else repository.has_tag(tag)
    rows = await authored.list_visible(
        session, Pipeline, actor=actor, name=name, user_id=user_id, where=where,
        after=after, limit=limit,
    )  # fmt: skip
    versions = await repository.versions_of(session, {row.id: row.version for row in rows})
    tags = await repository.tags_of(session, versions.keys())
    return [SavedPipeline.of(row, versions[row.id], tags.get(row.id, [])) for row in rows]


async def get_pipeline(
    session: AsyncSession,
    functions: Catalogue,
    pipeline_id: int,
    *,
    actor: Actor,
    version: int | None = None,
) -> SavedPipeline:
    """The pipeline with a version (its newest), and with what is wrong with it by now.

    Raises `NotFound`.
    """
    row = await authored.get_visible(session, Pipeline, pipeline_id, actor=actor)
    number = row.version if version is None else version
    found = await repository.get_version(session, row, number)
    resolved = await resolve(session, functions, row, found)
    saved = await _saved(session, row, found)
    return replace(saved, diagnostics=resolved.analysis.diagnostics)


async def get_row(session: AsyncSession, pipeline_id: int, *, actor: Actor) -> Pipeline:
    """The pipeline's row alone. Raises `NotFound`, also when `actor` may not see it."""
    return await authored.get_visible(session, Pipeline, pipeline_id, actor=actor)


async def get_named(session: AsyncSession, name: str, *, actor: Actor) -> Pipeline:
    """The row of the pipeline of this name. Raises `NotFound`, also when `actor` may not see it."""
    row = await _find_named(session, name)
    if row is None or not (row.is_shared or actor.may_see(row.user_id)):
        raise NotFound(f"There is no pipeline '{name[:100]}'.")
    return row


async def list_versions(
    session: AsyncSession,
    pipeline_id: int,
    *,
    actor: Actor,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[SavedPipeline]:
    """The pipeline as each of its versions says, the oldest first. Raises `NotFound`."""
    row = await authored.get_visible(session, Pipeline, pipeline_id, actor=actor)
    statement = select(PipelineVersion).where(PipelineVersion.pipeline_id == row.id)
    statement = keyset(statement, PipelineVersion.number, after=after, limit=limit)
    versions = (await session.scalars(statement)).all()
    tags = (await repository.tags_of(session, [row.id])).get(row.id, [])
    return [SavedPipeline.of(row, version, tags) for version in versions]


async def create_pipeline(
    session: AsyncSession,
    functions: Catalogue,
    *,
    name: str,
    source: str,
    tags: Sequence[str] = (),
    shared: bool = False,
    actor: Actor,
) -> SavedPipeline:
    """Save a pipeline. Raises `InvalidPipeline`, `NameTaken`, `Unprocessable`."""
    # First, for the revision's row lets one change through at a time: no circle closes meanwhile.
    await bump_revision(session)
    row = Pipeline(
        user_id=await authored.owner_of_new(session, actor),
        name=name,
        is_shared=shared,
        version=0,
        served_version=0,
        labels={},
    )
    await authored.add(session, row)
    version = await checked_version(session, functions, row, source)
    await repository.add_version(session, row, version, actor)
    await repository.replace_tags(session, row.id, _checked_tags(tags))
    record(session, actor, "pipeline.create", "pipeline", row.id, name=row.name, shared=shared)
    return await _saved(session, row, version)


async def update_pipeline(
    session: AsyncSession,
    functions: Catalogue,
    pipeline_id: int,
    changes: PipelineChanges,
    *,
    actor: Actor,
    force: bool = False,
) -> SavedPipeline:
    """Change what `changes` names; another text, or one that means something else, is a new version.

    Raises `Forbidden`, `InUse` unless `force` (another name while pipelines call it, shared no more
    while pipelines of others do, arguments with which they cannot call it any more),
    `InvalidPipeline`, `NameTaken`, `NotFound`, `Unprocessable`.
    """
    await bump_revision(session)
    row = await authored.get_changeable(session, Pipeline, pipeline_id, actor=actor)
    served = row.served_version
    version = await repository.get_version(session, row, row.version)
    if "name" in changes:
        await authored.rename(session, row, changes["name"], force=force, actor=actor)
    if "shared" in changes:
        await authored.share(session, row, changes["shared"], force=force, actor=actor)
    await session.flush()
    if "source" in changes:
        changed = await checked_version(session, functions, row, changes["source"])
        if said(changed) != said(version):
            await repository.add_version(session, row, changed, actor)
            version = changed
    if not force:
        await _refuse_breaking(session, row, served, actor)
    if "tags" in changes:
        await repository.replace_tags(session, row.id, _checked_tags(changes["tags"]))
    record(
        session, actor, "pipeline.update", "pipeline", row.id,
        name=row.name, shared=row.is_shared, version=row.version, changed=sorted(changes),
    )  # fmt: skip
    return await _saved(session, row, version)


async def roll_back(
    session: AsyncSession,
    functions: Catalogue,
    pipeline_id: int,
    number: int,
    *,
    actor: Actor,
    force: bool = False,
) -> SavedPipeline:
    """Make a new version that says and means what version `number` does.

    Raises `Forbidden`, `InUse` unless `force` where other pipelines cannot call that,
    `InvalidPipeline` when that cannot run any more, `NotFound`.
    """
    await bump_revision(session)
    row = await authored.get_changeable(session, Pipeline, pipeline_id, actor=actor)
    served = row.served_version
    old = await repository.get_version(session, row, number)
    (await resolve(session, functions, row, old)).require_valid()
    version = PipelineVersion(
        source=old.source,
        arguments=old.arguments,
        bindings=old.bindings,
        diagnostics=old.diagnostics,
    )
    await repository.add_version(session, row, version, actor)
    await refuse_cycles(session, functions, row)
    if not force:
        await _refuse_breaking(session, row, served, actor)
    record(session, actor, "pipeline.roll_back", "pipeline", row.id, name=row.name, to=number)
    return await _saved(session, row, version)


async def label_version(
    session: AsyncSession,
    functions: Catalogue,
    pipeline_id: int,
    label: str,
    number: int | None,
    *,
    actor: Actor,
    force: bool = False,
) -> SavedPipeline:
    """Let `label` name a version, or none; `production` decides which one runs.

    Raises `Forbidden`, `InUse` unless `force` where other pipelines cannot call the one that would
    run, `InvalidPipeline` when another one would run that cannot, `NotFound`, `Unprocessable`.
    """
    await bump_revision(session)
    row = await authored.get_changeable(session, Pipeline, pipeline_id, actor=actor)
    before = row.served_version
    authored.set_label(row, label, number)
    await session.flush()
    if row.served_version != before:
        served = await repository.get_version(session, row, row.served_version)
        (await resolve(session, functions, row, served)).require_valid()
        await refuse_cycles(session, functions, row)
        if not force:
            await _refuse_breaking(session, row, before, actor)
    record(
        session, actor, "pipeline.label", "pipeline", row.id,
        name=row.name, label=label, version=number,
    )  # fmt: skip
    return await _saved(session, row, await repository.get_version(session, row, row.version))


async def delete_pipeline(
    session: AsyncSession, pipeline_id: int, *, actor: Actor, force: bool = False
) -> None:
    """Remove a pipeline; its runs stay. Raises `Forbidden`, `InUse` unless `force`, `NotFound`."""
    await bump_revision(session)
    row = await authored.get_changeable(session, Pipeline, pipeline_id, actor=actor)
    await authored.remove(session, row, force=force, actor=actor)
    record(session, actor, "pipeline.delete", "pipeline", row.id, name=row.name)


async def restore_pipeline(
    session: AsyncSession, functions: Catalogue, pipeline_id: int, *, actor: Actor
) -> SavedPipeline:
    """Take a deletion of the last hour back. Raises `InvalidPipeline` where others lead back to it by
    now, `NameTaken`, `NotFound`."""
    await bump_revision(session)
    row = await authored.get_deleted(session, Pipeline, pipeline_id, actor=actor)
    await authored.restore(session, row)
    await session.flush()
    await refuse_cycles(session, functions, row)
    record(session, actor, "pipeline.restore", "pipeline", row.id, name=row.name)
    return await _saved(session, row, await repository.get_version(session, row, row.version))


async def _refuse_breaking(session: AsyncSession, row: Pipeline, served: int, actor: Actor) -> None:
    """Raise `InUse` if others call the version `served` and cannot call what runs instead now."""
    if row.served_version == served:
        return
    before, after = [
        await _signature(session, row, number) for number in (served, row.served_version)
    ]
    await refuse_breaking(session, "pipeline", row.id, before, after, actor=actor)


async def _signature(session: AsyncSession, row: Pipeline, number: int) -> Signature:
    version = await repository.get_version(session, row, number)
    arguments = read_arguments(version.arguments)
    return Signature(
        frozenset(one.name for one in arguments),
        frozenset(one.name for one in arguments if one.is_required),
    )


async def _find_named(session: AsyncSession, name: str) -> Pipeline | None:
    return await session.scalar(
        select(Pipeline).where(Pipeline.name == name, Pipeline.deleted_at.is_(None))
    )


async def _saved(session: AsyncSession, row: Pipeline, version: PipelineVersion) -> SavedPipeline:
    tags = await repository.tags_of(session, [row.id])
    return SavedPipeline.of(row, version, tags.get(row.id, []))


def _checked_tags(tags: Sequence[str]) -> list[str]:
    checked = [tag.strip() for tag in tags]
    if not all(1 <= len(tag) <= MAX_TAG_CHARACTERS and tag.isprintable() for tag in checked):
        raise Unprocessable(
            f"A tag has 1 to {MAX_TAG_CHARACTERS} printable characters.", param="tags"
        )
    if len(checked) > MAX_TAGS:
        raise Unprocessable(f"There are {MAX_TAGS} tags at most.", param="tags")
    return list(dict.fromkeys(checked))
