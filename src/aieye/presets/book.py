"""All presets in memory, each as it runs: what calls find them in without asking the database.

A part of what the directory keeps: it is read with each of its snapshots, in every process within
`aieye.access.directory.POLL_SECONDS` of a change. Documents of searches are never in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Preset as PresetRow
from aieye.db.tables import PresetVersion
from aieye.presets.models import Preset
from aieye.presets.repository import versions_of


class PresetBook:
    """One a process. `read` is called by the directory."""

    def __init__(self) -> None:
        self._by_uid: Mapping[str, Preset] = MappingProxyType({})
        self._by_name: Mapping[str, Preset] = MappingProxyType({})
        self._by_id: Mapping[int, Preset] = MappingProxyType({})

    def find(self, uid: str) -> Preset | None:
        """The preset of that id, whoever's it is, as it runs."""
        return self._by_uid.get(uid)

    def find_by_id(self, preset_id: int) -> Preset | None:
        """The preset that pipelines know by that number, whoever's it is, as it runs."""
        return self._by_id.get(preset_id)

    def find_callable(
        self, name: str, user_id: int | None, *, is_administrator: bool
    ) -> Preset | None:
        """The preset that holds the name, if the caller may use it: it is theirs or shared."""
        found = self._by_name.get(name)
        if found is None or not found.may_be_used_by(user_id, is_administrator=is_administrator):
            return None
        return found

    def list_callable(self, user_id: int | None, *, is_administrator: bool) -> Sequence[Preset]:
        """Those that hold a name and that the caller may use, the oldest first."""
        return [
            one
            for one in self._by_name.values()
            if one.may_be_used_by(user_id, is_administrator=is_administrator)
        ]

    async def read(self, session: AsyncSession) -> None:
        """Read what has changed: the rows, and of their versions those that are not known."""
        statement = select(PresetRow).where(PresetRow.deleted_at.is_(None)).order_by(PresetRow.id)
        rows = (await session.scalars(statement)).all()
        known = {row.id: self._by_id.get(row.id) for row in rows}
        new = await versions_of(
            session,
            (
                (row.id, row.served_version)
                for row in rows
                if (one := known[row.id]) is None or one.version != row.served_version
            ),
        )
        found = [_preset(row, new, known[row.id]) for row in rows]
        self._by_id = MappingProxyType({one.id: one for one in found})
        self._by_uid = MappingProxyType({one.uid: one for one in found})
        self._by_name = MappingProxyType({one.name: one for one in found if one.is_callable})


def _preset(row: PresetRow, new: Mapping[int, PresetVersion], known: Preset | None) -> Preset:
    """The preset as its row says; a version never changes, so that one that is known still counts."""
    version = new.get(row.id)
    if version is not None:
        return Preset.of(row, version)
    assert known is not None
    return replace(
        known,
        name=row.name,
        user_id=row.user_id,
        shared=row.is_shared,
        is_callable=row.is_callable,
        newest=row.version,
        served_version=row.served_version,
        labels=row.labels,
        updated_at=row.updated_at,
    )
