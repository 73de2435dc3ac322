"""Rows of presets: by their ids, their versions, and the documents of searches."""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

import orjson
from sqlalchemy import delete, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import authored
from aieye.db.rows import find_living
from aieye.db.tables import Preset, PresetDocuments, PresetVersion
from aieye.errors import NotFound
from aieye.presets.document_lines import PackedDocuments

UID_CHARACTERS: Final = 20
# How many keys one statement names: databases count the variables of a statement.
_CHUNK: Final = 400

KeyT = TypeVar("KeyT")


def new_uid() -> str:
    """20 url-safe characters, of 120 random bits."""
    return secrets.token_urlsafe(15)


async def find_row(session: AsyncSession, uid: str | int) -> Preset | None:
    """The living preset of that id, or with that number inside."""
    if isinstance(uid, int):
        return await find_living(session, Preset, uid)
    if len(uid) != UID_CHARACTERS or not uid.isascii() or not uid.isprintable():
        return None
    return await session.scalar(
        select(Preset).where(Preset.uid == uid, Preset.deleted_at.is_(None))
    )


async def find_deleted(session: AsyncSession, uid: str) -> Preset | None:
    """The preset of that id that was deleted last; checks no rights."""
    if len(uid) != UID_CHARACTERS or not uid.isascii() or not uid.isprintable():
        return None
    statement = (
        select(Preset)
        .where(Preset.uid == uid, Preset.deleted_at.is_not(None))
        .order_by(Preset.deleted_at.desc())
    )
    return (await session.scalars(statement.limit(1))).first()


async def get_id(session: AsyncSession, uid: str) -> int:
    """The number inside that an id stands for. Raises `NotFound`; checks no rights."""
    row = await find_row(session, uid)
    if row is None:
        raise NotFound(f"There is no preset {uid[:100]!r}.")
    return row.id


async def get_version(session: AsyncSession, row: Preset, number: int) -> PresetVersion:
    """A version of the preset. Raises `NotFound`."""
    key = (row.id, authored.check_number(row, number))
    version = await session.get(PresetVersion, key)
    assert version is not None
    return version


async def rows_of(session: AsyncSession, ids: Iterable[int]) -> Sequence[Preset]:
    """The living ones of these presets."""
    found: list[Preset] = []
    for some in _chunks(ids):
        rows = await session.scalars(
            select(Preset).where(Preset.id.in_(some), Preset.deleted_at.is_(None))
        )
        found += rows
    return found


async def versions_of(
    session: AsyncSession, numbers: Iterable[tuple[int, int]]
) -> Mapping[int, PresetVersion]:
    """One version of each preset, given as pairs of its id and a number, by the preset's id."""
    key = tuple_(PresetVersion.preset_id, PresetVersion.number)
    found: dict[int, PresetVersion] = {}
    for some in _chunks(numbers):
        rows = await session.scalars(select(PresetVersion).where(key.in_(some)))
        found.update((version.preset_id, version) for version in rows)
    return found


async def store_documents(session: AsyncSession, documents: Sequence[str]) -> str | None:
    """Keep the documents of a search, which are stored once; their id, None for none."""
    if not documents:
        return None
    lines = b"\n".join(orjson.dumps(document) for document in documents)
    id_ = hashlib.sha256(lines).hexdigest()
    packed = PackedDocuments(id_, len(documents), len(lines), zlib.compress(lines))
    return await store_packed(session, packed)


async def store_packed(session: AsyncSession, packed: PackedDocuments) -> str:
    """Keep documents that are packed already; their id."""
    found = select(PresetDocuments.id).where(PresetDocuments.id == packed.id)
    if await session.scalar(found) is None:
        session.add(
            PresetDocuments(
                id=packed.id,
                count=packed.count,
                size_bytes=packed.size_bytes,
                lines=packed.lines,
            )
        )
        await session.flush()
    return packed.id


async def load_documents(session: AsyncSession, documents_id: str | None) -> list[str]:
    """The documents that were stored under the id, all at once: for few (`fields.MOST_DOCUMENTS`)."""
    if documents_id is None:
        return []
    row = await session.get(PresetDocuments, documents_id)
    assert row is not None
    return [orjson.loads(line) for line in zlib.decompress(row.lines).split(b"\n")]


async def forget_deleted(session: AsyncSession, before: datetime) -> None:
    """Remove the documents of presets that were deleted `before`, where no other has them."""
    old = select(Preset.id).where(Preset.deleted_at < before)
    theirs = PresetVersion.preset_id.in_(old) & PresetVersion.documents_id.is_not(None)
    ids = set(await session.scalars(select(PresetVersion.documents_id).where(theirs)))
    if ids:
        await session.execute(update(PresetVersion).where(theirs).values(documents_id=None))
        await _forget_documents(session, [one for one in ids if one is not None])


async def _forget_documents(session: AsyncSession, ids: Collection[str]) -> None:
    """Remove those of the documents that no version refers to any more."""
    used = select(PresetVersion.documents_id).where(PresetVersion.documents_id.in_(ids))
    still = set(await session.scalars(used))
    gone = [one for one in ids if one not in still]
    await session.execute(delete(PresetDocuments).where(PresetDocuments.id.in_(gone)))


def _chunks(keys: Iterable[KeyT]) -> Iterable[list[KeyT]]:
    rest = list(keys)
    for start in range(0, len(rest), _CHUNK):
        yield rest[start : start + _CHUNK]
