"""Prompts as their owners change them. A change of what a prompt says makes a new version."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from sqlalchemy import ColumnElement, or_, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor, record
from aieye.access.texts import check_label, check_text
from aieye.access.uses import Signature, refuse_breaking
from aieye.db.engine import bump_revision
from aieye.db.rows import keyset
from aieye.db.tables import Prompt, PromptVersion, User
from aieye.errors import NotFound
from aieye.prompts.content import Content, check_content
from aieye.prompts.models import SavedPrompt, content_of

MAX_DESCRIPTION_CHARACTERS = 10_000


class PromptChanges(TypedDict, total=False):
    """What of a prompt may be changed; what is left out stays."""

    name: str
    description: str
    shared: bool
    body: str
    model: str
    params: Mapping[str, Any]
    json_mode: bool
    schema: Mapping[str, Any] | None


_CONTENT = frozenset({"body", "model", "params", "json_mode", "schema"})


async def list_prompts(
    session: AsyncSession,
    *,
    actor: Actor,
    name: str | None = None,
    user_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[SavedPrompt]:
    """The prompts that `actor` may see, the oldest first, each with its newest version."""
    rows = await authored.list_visible(
        session, Prompt, actor=actor, name=name, user_id=user_id, after=after, limit=limit
    )
    versions = await _versions(session, {row.id: row.version for row in rows})
    return [SavedPrompt.of(row, versions[row.id]) for row in rows]


async def newest_prompts(
    session: AsyncSession,
    *,
    actor: Actor,
    text: str = "",
    whose: authored.Whose | None = None,
    before: int | None = None,
    limit: int,
) -> Sequence[tuple[SavedPrompt, User]]:
    """As `authored.list_newest`: each with its newest version and its owner."""
    found = await authored.list_newest(
        session, Prompt, actor=actor, text=text, also=[Prompt.description], whose=whose,
        before=before, limit=limit,
    )  # fmt: skip
    versions = await _versions(session, {row.id: row.version for row, _ in found})
    return [(SavedPrompt.of(row, versions[row.id]), owner) for row, owner in found]


async def get_prompt(
    session: AsyncSession, prompt_id: int, *, actor: Actor, version: int | None = None
) -> SavedPrompt:
    """The prompt with a version (its newest). Raises `NotFound`."""
    row = await authored.get_visible(session, Prompt, prompt_id, actor=actor)
    number = row.version if version is None else version
    return SavedPrompt.of(row, await _get_version(session, row, number))


async def list_versions(
    session: AsyncSession,
    prompt_id: int,
    *,
    actor: Actor,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[SavedPrompt]:
    """The prompt as each of its versions says, the oldest first. Raises `NotFound`."""
    row = await authored.get_visible(session, Prompt, prompt_id, actor=actor)
    statement = select(PromptVersion).where(PromptVersion.prompt_id == row.id)
    statement = keyset(statement, PromptVersion.number, after=after, limit=limit)
    return [SavedPrompt.of(row, version) for version in await session.scalars(statement)]


async def create_prompt(
    session: AsyncSession,
    *,
    name: str,
    content: Content,
    description: str = "",
    shared: bool = False,
    actor: Actor,
) -> SavedPrompt:
    """Make a prompt. Raises `NameTaken`, `Unprocessable`."""
    await bump_revision(session)
    row = Prompt(
        user_id=await authored.owner_of_new(session, actor),
        name=name,
        description=_checked_description(description),
        is_shared=shared,
        version=0,
        served_version=0,
        labels={},
    )
    checked = _checked(content)
    await authored.add(session, row)
    version = await _add_version(session, row, checked, actor)
    record(session, actor, "prompt.create", "prompt", row.id, name=row.name, shared=shared)
    return SavedPrompt.of(row, version)


async def update_prompt(
    session: AsyncSession,
    prompt_id: int,
    changes: PromptChanges,
    *,
    actor: Actor,
    force: bool = False,
) -> SavedPrompt:
    """Change what `changes` names; another content is a new version.

    Raises `Forbidden`, `InUse` unless `force` (another name while pipelines call it, shared no more
    while pipelines of others do, variables with which they cannot call it any more), `NameTaken`,
    `NotFound`, `Unprocessable`.
    """
    await bump_revision(session)
    row = await authored.get_changeable(session, Prompt, prompt_id, actor=actor)
    served = row.served_version
    version = await _get_version(session, row, row.version)
    if "name" in changes:
        await authored.rename(session, row, changes["name"], force=force, actor=actor)
    if "description" in changes:
        row.description = _checked_description(changes["description"])
    if "shared" in changes:
        await authored.share(session, row, changes["shared"], force=force, actor=actor)
    before = content_of(version)
    said = {key: value for key, value in changes.items() if key in _CONTENT}
    content = _checked(replace(before, **said))  # type: ignore[arg-type] # the same fields, by name
    if content != before:
        version = await _add_version(session, row, content, actor)
    await session.flush()
    if not force:
        await _refuse_breaking(session, row, served, actor)
    record(
        session, actor, "prompt.update", "prompt", row.id,
        name=row.name, shared=row.is_shared, version=row.version, changed=sorted(changes),
    )  # fmt: skip
    return SavedPrompt.of(row, version)


async def roll_back(
    session: AsyncSession, prompt_id: int, number: int, *, actor: Actor, force: bool = False
) -> SavedPrompt:
    """Make a new version that says what version `number` says.

    Raises `Forbidden`, `InUse` unless `force` where pipelines cannot call that, `NotFound`.
    """
    await bump_revision(session)
    row = await authored.get_changeable(session, Prompt, prompt_id, actor=actor)
    served = row.served_version
    content = content_of(await _get_version(session, row, number))
    version = await _add_version(session, row, content, actor)
    if not force:
        await _refuse_breaking(session, row, served, actor)
    record(session, actor, "prompt.roll_back", "prompt", row.id, name=row.name, to=number)
    return SavedPrompt.of(row, version)


async def label_version(
    session: AsyncSession,
    prompt_id: int,
    label: str,
    number: int | None,
    *,
    actor: Actor,
    force: bool = False,
) -> SavedPrompt:
    """Let `label` name a version, or none; `production` decides which one runs.

    Raises `Forbidden`, `InUse` unless `force` where pipelines cannot call the one that would run,
    `NotFound`, `Unprocessable`.
    """
    await bump_revision(session)
    row = await authored.get_changeable(session, Prompt, prompt_id, actor=actor)
    served = row.served_version
    authored.set_label(row, label, number)
    await session.flush()
    if not force:
        await _refuse_breaking(session, row, served, actor)
    record(
        session, actor, "prompt.label", "prompt", row.id, name=row.name, label=label, version=number
    )
    return SavedPrompt.of(row, await _get_version(session, row, row.version))


async def delete_prompt(
    session: AsyncSession, prompt_id: int, *, actor: Actor, force: bool = False
) -> None:
    """Remove a prompt. Raises `Forbidden`, `InUse` unless `force`, `NotFound`."""
    await bump_revision(session)
    row = await authored.get_changeable(session, Prompt, prompt_id, actor=actor)
    await authored.remove(session, row, force=force, actor=actor)
    record(session, actor, "prompt.delete", "prompt", row.id, name=row.name)


async def restore_prompt(session: AsyncSession, prompt_id: int, *, actor: Actor) -> SavedPrompt:
    """Take a deletion of the last hour back. Raises `NameTaken`, `NotFound`."""
    await bump_revision(session)
    row = await authored.get_deleted(session, Prompt, prompt_id, actor=actor)
    await authored.restore(session, row)
    record(session, actor, "prompt.restore", "prompt", row.id, name=row.name)
    return SavedPrompt.of(row, await _get_version(session, row, row.version))


async def served_prompts(
    session: AsyncSession, prompt_ids: Collection[int]
) -> Mapping[int, SavedPrompt]:
    """The living ones among these prompts, each with the version that runs. Checks no rights."""
    statement = select(Prompt).where(Prompt.id.in_(prompt_ids), Prompt.deleted_at.is_(None))
    rows = (await session.scalars(statement)).all()
    versions = await _versions(session, {row.id: row.served_version for row in rows})
    return {row.id: SavedPrompt.of(row, versions[row.id]) for row in rows}


async def list_usable(session: AsyncSession, user_id: int) -> Sequence[SavedPrompt]:
    """What the user may use in pipelines, by name: their own and what is shared, as it runs."""
    statement = select(Prompt).where(_is_usable(user_id)).order_by(Prompt.name)
    rows = (await session.scalars(statement)).all()
    versions = await _versions(session, {row.id: row.served_version for row in rows})
    return [SavedPrompt.of(row, versions[row.id]) for row in rows]


async def get_usable(session: AsyncSession, name: str, user_id: int) -> SavedPrompt:
    """The prompt of that name, as it runs. Raises `NotFound`, also when it is another's."""
    row = await session.scalar(select(Prompt).where(_is_usable(user_id), Prompt.name == name))
    if row is None:
        raise NotFound(f"There is no prompt '{name[:100]}'.")
    return SavedPrompt.of(row, await _get_version(session, row, row.served_version))


def _is_usable(user_id: int) -> ColumnElement[bool]:
    return Prompt.deleted_at.is_(None) & or_(Prompt.is_shared, Prompt.user_id == user_id)


async def _refuse_breaking(session: AsyncSession, row: Prompt, served: int, actor: Actor) -> None:
    """Raise `InUse` if pipelines call the version `served` and cannot call what runs instead now."""
    if row.served_version == served:
        return
    before, after = [
        frozenset((await _get_version(session, row, number)).variables)
        for number in (served, row.served_version)
    ]
    await refuse_breaking(
        session, "prompt", row.id, Signature(before, before), Signature(after, after), actor=actor
    )


async def _add_version(
    session: AsyncSession, row: Prompt, content: Content, actor: Actor
) -> PromptVersion:
    version = PromptVersion(
        prompt_id=row.id,
        number=authored.number_next(row),
        body=content.body,
        variables=list(content.variables),
        model=content.model,
        params=dict(content.params),
        json_mode=content.json_mode,
        schema=None if content.schema is None else dict(content.schema),
        created_by=actor.user_id,
    )
    session.add(version)
    await session.flush()
    return version


async def _get_version(session: AsyncSession, row: Prompt, number: int) -> PromptVersion:
    key = (row.id, authored.check_number(row, number))
    version = await session.get(PromptVersion, key)
    assert version is not None
    return version


async def _versions(
    session: AsyncSession, numbers: Mapping[int, int]
) -> Mapping[int, PromptVersion]:
    """One version of each prompt, by the prompt's id."""
    key = tuple_(PromptVersion.prompt_id, PromptVersion.number)
    rows = await session.scalars(select(PromptVersion).where(key.in_(list(numbers.items()))))
    return {version.prompt_id: version for version in rows}


def _checked(content: Content) -> Content:
    return check_content(
        replace(content, model=check_label(content.model, longest=200, param="model"))
    )


def _checked_description(text: str) -> str:
    return check_text(text, longest=MAX_DESCRIPTION_CHARACTERS, param="description")
