"""All presets in memory, each as it runs: what calls find them in without asking the database.

A part of what the directory keeps: it is read with each of its snapshots, in every process within
`aieye.access.directory.POLL_SECONDS` of a change. Documents of searches are never in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Preset as PresetRow
from aieye.presets.models import Preset
from aieye.presets.repository import rows_of, versions_of


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
        """Read what has changed: every change of a preset's row changes when it last did."""
        statement = select(PresetRow.id, PresetRow.updated_at)
        statement = statement.where(PresetRow.deleted_at.is_(None)).order_by(PresetRow.id)
        stamps = dict((await session.execute(statement)).all())
        changed = await self._read_rows(
            session,
            [
                id_
                for id_, updated_at in stamps.items()
                if (one := self._by_id.get(id_)) is None or one.updated_at != updated_at
            ],
        )
        if not changed and len(stamps) == len(self._by_id):
            return
        # One that is gone between the two readings is in neither.
        both = {**self._by_id, **changed}
        found = [both[id_] for id_ in stamps if id_ in both]
        self._by_id = MappingProxyType({one.id: one for one in found})
        self._by_uid = MappingProxyType({one.uid: one for one in found})
        self._by_name = MappingProxyType({one.name: one for one in found if one.is_callable})

    async def _read_rows(self, session: AsyncSession, ids: Sequence[int]) -> dict[int, Preset]:
        rows = await rows_of(session, ids)
        versions = await versions_of(session, ((row.id, row.served_version) for row in rows))
        return {row.id: Preset.of(row, versions[row.id]) for row in rows}
