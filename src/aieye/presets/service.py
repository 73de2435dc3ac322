"""Presets as their owners change them. A change of what a preset says makes a new version.

A preset is made with a name of its own, that nothing else in the installation has, or with any name
at all, as the GPT3 Proxy allows (`any_name`). Such a one holds its name only if that is a NAME and
was free when it was made or last saved: when the holder goes, nobody takes its place unasked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypedDict, cast

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.access.audit import Actor, record
from aieye.access.names import RESERVED, check_callable_name, find_holder, free_name, take_name
from aieye.access.uses import refuse_while_used
from aieye.db.engine import bump_revision
from aieye.db.rows import flush_unique, insert_unique, keyset
from aieye.db.tables import Preset as PresetRow
from aieye.db.tables import PresetVersion, User
from aieye.db.types import now
from aieye.errors import Forbidden, Unprocessable
from aieye.presets import fields, repository
from aieye.presets.checks import is_storable
from aieye.presets.models import Preset, PresetType

LONGEST_NAME: Final = 200
Ref: TypeAlias = str | int
"""Which preset is meant: its `uid`, or the number of its row."""
_UID = re.compile(r"[A-Za-z0-9_-]{20}", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)


class PresetChanges(TypedDict, total=False):
    """What of a preset may be changed; what is left out stays."""

    name: str
    shared: bool
    config: Any
    # What it is already: a preset's type stays.
    type: PresetType


async def list_presets(
    session: AsyncSession,
    *,
    actor: Actor,
    name: str | None = None,
    user_id: int | None = None,
    type_: PresetType | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[Preset]:
    """The presets that `actor` may see, the oldest first, each with its newest version."""
    where: ColumnElement[bool] = true() if type_ is None else PresetRow.type == type_
    rows = await authored.list_visible(
        session, PresetRow, actor=actor, name=name, user_id=user_id, where=where,
        after=after, limit=limit,
    )  # fmt: skip
    versions = await repository.versions_of(session, ((row.id, row.version) for row in rows))
    return [Preset.of(row, versions[row.id]) for row in rows]


async def list_newest(session: AsyncSession, *, actor: Actor) -> Sequence[PresetRow]:
    """The rows of all presets that `actor` may see, what was changed last first."""
    rows = await authored.list_visible(session, PresetRow, actor=actor)
    return sorted(rows, key=lambda row: (row.updated_at, row.id), reverse=True)


async def newest_presets(
    session: AsyncSession,
    *,
    actor: Actor,
    text: str = "",
    whose: authored.Whose | None = None,
    type_: PresetType | None = None,
    before: int | None = None,
    limit: int,
) -> Sequence[tuple[Preset, User]]:
    """The presets that `actor` may see, each with its newest version and its owner, the newest first,
    from before the number `before` back; `text` is a part of the name or the id."""
    where = None if type_ is None else PresetRow.type == type_
    found = await authored.list_newest(
        session, PresetRow, actor=actor, text=text, also=(PresetRow.uid,), whose=whose, where=where,
        before=before, limit=limit,
    )  # fmt: skip
    versions = await repository.versions_of(session, ((row.id, row.version) for row, _ in found))
    return [(Preset.of(row, versions[row.id]), owner) for row, owner in found]


async def get_preset(
    session: AsyncSession, uid: Ref, *, actor: Actor, version: int | None = None
) -> Preset:
    """The preset with a version (its newest). Raises `NotFound`."""
    row = await _get_visible(session, uid, actor)
    number = row.version if version is None else version
    return Preset.of(row, await repository.get_version(session, row, number))


async def list_versions(
    session: AsyncSession,
    uid: Ref,
    *,
    actor: Actor,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[Preset]:
    """The preset as each of its versions says, the oldest first. Raises `NotFound`."""
    row = await _get_visible(session, uid, actor)
    statement = select(PresetVersion).where(PresetVersion.preset_id == row.id)
    statement = keyset(statement, PresetVersion.number, after=after, limit=limit)
    return [Preset.of(row, version) for version in await session.scalars(statement)]


async def shown_config(session: AsyncSession, preset: Preset) -> dict[str, Any]:
    """The configuration with its documents, if they are not so many that they were given as a file."""
    config = dict(preset.config)
    if preset.document_count is not None and preset.document_count <= fields.MOST_DOCUMENTS:
        config["documents"] = await repository.load_documents(session, preset.documents_id)
    return config


async def served_presets(session: AsyncSession, ids: Collection[int]) -> Mapping[int, Preset]:
    """The living ones among these presets, by the numbers that pipelines know them by, each with the
    version that runs. Checks no rights."""
    statement = select(PresetRow).where(PresetRow.id.in_(ids), PresetRow.deleted_at.is_(None))
    rows = (await session.scalars(statement)).all()
    numbers = ((row.id, row.served_version) for row in rows)
    versions = await repository.versions_of(session, numbers)
    return {row.id: Preset.of(row, versions[row.id]) for row in rows}


async def create_preset(
    session: AsyncSession,
    *,
    name: str,
    type_: PresetType,
    config: object,
    actor: Actor,
    shared: bool = False,
    uid: str | None = None,
    any_name: bool = False,
) -> Preset:
    """Make a preset; under `uid` if it is carried over from elsewhere.

    Raises `Conflict` (there is one of that id), `InvalidPreset`, `NameTaken`, `Unprocessable`.
    """
    checked = fields.validate(type_, config)
    if uid is not None and _UID.fullmatch(uid) is None:
        raise Unprocessable("An _id has 20 of A-Z, a-z, 0-9, - and _.", param="_id")
    await bump_revision(session)
    made_at = now()
    row = PresetRow(
        uid=uid or repository.new_uid(),
        user_id=await authored.owner_of_new(session, actor),
        name=_checked_name(name) if any_name else check_callable_name(name),
        type=type_,
        is_shared=shared,
        is_callable=not any_name or await _is_free(session, name),
        version=1,
        served_version=1,
        labels={},
        created_at=made_at,
        updated_at=made_at,
    )
    await insert_unique(session, row, clash=f"There is a preset with the _id {uid}.", param="_id")
    if row.is_callable:
        await take_name(session, row.name, "preset", row.id)
    documents = checked.pop("documents", None)
    version = _version(
        row, actor, checked,
        await repository.store_documents(session, documents or ()),
        None if documents is None else len(documents),
    )  # fmt: skip
    session.add(version)
    await session.flush()
    record(
        session, actor, "preset.create", "preset", row.uid,
        name=row.name, type=row.type, shared=shared,
    )  # fmt: skip
    return Preset.of(row, version)


async def update_preset(
    session: AsyncSession,
    uid: str,
    changes: PresetChanges,
    *,
    actor: Actor,
    force: bool = False,
    any_name: bool = False,
) -> Preset:
    """Change what `changes` names; another configuration is a new version.

    Raises `Forbidden`, `InUse` (another name, or no longer shared, while pipelines call it, unless
    `force`), `InvalidPreset`, `NameTaken`, `NotFound`, `Unprocessable`.
    """
    await bump_revision(session)
    row = await _get_changeable(session, uid, actor)
    if changes.get("type", row.type) != row.type:
        raise Unprocessable(
            f"A preset stays of its type, which is {row.type}: make another one.", param="type"
        )
    version = await repository.get_version(session, row, row.version)
    await _rename(
        session, row, changes.get("name", row.name), actor, force=force, any_name=any_name
    )
    if "shared" in changes:
        await authored.share(session, row, changes["shared"], force=force, actor=actor)
    if "config" in changes:
        version = await _save(session, row, version, changes["config"], actor)
    row.updated_at = now()
    await session.flush()
    record(
        session, actor, "preset.update", "preset", row.uid,
        name=row.name, shared=row.is_shared, version=row.version, changed=sorted(changes),
    )  # fmt: skip
    return Preset.of(row, version)


async def get_own_search(session: AsyncSession, uid: Ref, *, actor: Actor) -> Preset:
    """The preset whose documents `actor` may replace. Raises as `replace_documents` does."""
    row = await _get_search(session, uid, actor)
    return Preset.of(row, await repository.get_version(session, row, row.version))


async def replace_documents(
    session: AsyncSession, uid: Ref, documents_id: str | None, count: int, *, actor: Actor
) -> Preset:
    """Let a search have other documents, which are stored already, as a new version.

    Raises `Forbidden`, `NotFound`, and `Unprocessable` if it is no search.
    """
    await bump_revision(session)
    row = await _get_search(session, uid, actor)
    version = await repository.get_version(session, row, row.version)
    if version.documents_id != documents_id:
        version = await _insert_version(session, row, actor, version.config, documents_id, count)
    record(session, actor, "preset.documents", "preset", row.uid, name=row.name, count=count)
    return Preset.of(row, version)


async def roll_back(session: AsyncSession, uid: Ref, number: int, *, actor: Actor) -> Preset:
    """Make a new version that says what version `number` says. Raises `Forbidden`, `NotFound`."""
    await bump_revision(session)
    row = await _get_changeable(session, uid, actor)
    old = await repository.get_version(session, row, number)
    version = await _insert_version(
        session, row, actor, old.config, old.documents_id, old.document_count
    )
    record(session, actor, "preset.roll_back", "preset", row.uid, name=row.name, to=number)
    return Preset.of(row, version)


async def label_version(
    session: AsyncSession, uid: Ref, label: str, number: int | None, *, actor: Actor
) -> Preset:
    """Let `label` name a version, or none; `production` decides which one runs.

    Raises `Forbidden`, `NotFound`, `Unprocessable`.
    """
    await bump_revision(session)
    row = await _get_changeable(session, uid, actor)
    authored.set_label(row, label, number)
    await session.flush()
    record(
        session, actor, "preset.label", "preset", row.uid,
        name=row.name, label=label, version=number,
    )  # fmt: skip
    return Preset.of(row, await repository.get_version(session, row, row.version))


async def delete_preset(
    session: AsyncSession, uid: str, *, actor: Actor, force: bool = False
) -> None:
    """Remove a preset; documents that only it had go when that cannot be undone any more.

    Raises `Forbidden`, `InUse` unless `force`, `NotFound`.
    """
    await bump_revision(session)
    row = await _get_changeable(session, uid, actor)
    await authored.remove(session, row, force=force, actor=actor)
    row.is_callable = False
    record(session, actor, "preset.delete", "preset", row.uid, name=row.name)


async def restore_preset(session: AsyncSession, preset_id: int, *, actor: Actor) -> Preset:
    """Take a deletion of the last hour back, by the number of the row. The preset has its name again
    if nothing else has it by now. Raises `Conflict` (its id is another's), `NotFound`."""
    await bump_revision(session)
    row = await authored.get_deleted(session, PresetRow, preset_id, actor=actor)
    row.deleted_at, row.is_callable = None, await _is_free(session, row.name)
    clash = f"There is another preset with the _id {row.uid}."
    await flush_unique(session, clash=clash, param="_id")
    if row.is_callable:
        await take_name(session, row.name, "preset", row.id)
    record(session, actor, "preset.restore", "preset", row.uid, name=row.name)
    return Preset.of(row, await repository.get_version(session, row, row.version))


# -- rows --------------------------------------------------------------------------------------


async def _get_visible(session: AsyncSession, uid: Ref, actor: Actor) -> PresetRow:
    row = await repository.find_row(session, uid)
    if row is None:
        deleted = await repository.find_deleted(session, str(uid))
        may_restore = deleted is not None and authored.may_restore(deleted, actor)
        raise authored.missing(PresetRow, str(uid)[:100], deleted if may_restore else None)
    if not (row.is_shared or actor.may_see(row.user_id)):
        raise authored.missing(PresetRow, row.uid[:100], None)
    return row


async def _get_changeable(session: AsyncSession, uid: Ref, actor: Actor) -> PresetRow:
    row = await _get_visible(session, uid, actor)
    if not actor.may_see(row.user_id):
        raise Forbidden("Only its owner and administrators change a preset.")
    return row


async def _get_search(session: AsyncSession, uid: Ref, actor: Actor) -> PresetRow:
    row = await _get_changeable(session, uid, actor)
    if row.type != "search":
        raise Unprocessable(f"A {row.type} preset has no documents.", param="type")
    return row


async def _rename(
    session: AsyncSession, row: PresetRow, name: str, actor: Actor, *, force: bool, any_name: bool
) -> None:
    """Give it this name. One that does not hold its name takes it when that is free by now."""
    if name != row.name:
        if row.is_callable and not force:
            await refuse_while_used(session, "preset", row.id, actor=actor)
        if any_name:
            await free_name(session, "preset", row.id)
            row.name, row.is_callable = _checked_name(name), False
        else:
            await take_name(session, check_callable_name(name), "preset", row.id)
            row.name, row.is_callable = name, True
    if not row.is_callable and await _is_free(session, row.name):
        await take_name(session, row.name, "preset", row.id)
        row.is_callable = True


async def _is_free(session: AsyncSession, name: str) -> bool:
    """Whether it is a NAME that nothing has.

    All who change names hold the row of `revision`: nobody takes it in between.
    """
    if _NAME.fullmatch(name) is None or name in RESERVED:
        return False
    return await find_holder(session, name) is None


async def _save(
    session: AsyncSession, row: PresetRow, newest: PresetVersion, config: Any, actor: Actor
) -> PresetVersion:
    """Another version if the configuration differs. Documents that were given as a file are none
    that a configuration shows: one that leaves them out does not take them away."""
    checked = fields.validate(cast(PresetType, row.type), config)
    documents = checked.pop("documents", None)
    if config.get("documents") is None and (newest.document_count or 0) > fields.MOST_DOCUMENTS:
        documents_id, count = newest.documents_id, newest.document_count
    else:
        documents_id = await repository.store_documents(session, documents or ())
        count = None if documents is None else len(documents)
    if (checked, documents_id) == (newest.config, newest.documents_id):
        return newest
    return await _insert_version(session, row, actor, checked, documents_id, count)


def _checked_name(name: str) -> str:
    if not 1 <= len(name) <= LONGEST_NAME or not is_storable(name):
        raise Unprocessable(
            f"name should have 1 to {LONGEST_NAME} characters that can be stored.", param="name"
        )
    return name


async def _insert_version(
    session: AsyncSession,
    row: PresetRow,
    actor: Actor,
    config: dict[str, Any],
    documents_id: str | None,
    document_count: int | None,
) -> PresetVersion:
    authored.number_next(row)
    version = _version(row, actor, config, documents_id, document_count)
    session.add(version)
    await session.flush()
    return version


def _version(
    row: PresetRow,
    actor: Actor,
    config: dict[str, Any],
    documents_id: str | None,
    document_count: int | None,
) -> PresetVersion:
    """The newest version of a preset."""
    return PresetVersion(
        preset_id=row.id,
        number=row.version,
        config=config,
        documents_id=documents_id,
        document_count=document_count,
        created_by=actor.user_id,
    )
