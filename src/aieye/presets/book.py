"""All presets in memory, each as it runs: what calls find them in without asking the database.

A part of what the directory keeps: it is read with each of its snapshots, in every process within
`aieye.access.directory.POLL_SECONDS` of a change. Documents of searches are never in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.tables import Preset as PresetRow
from aieye.presets.models import Preset
from aieye.presets.repository import rows_of, versions_of

# What is read at once takes some milliseconds.
_STAMPS_AT_ONCE: Final = 1_000
_ROWS_AT_ONCE: Final = 100


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
        stamps = await _read_stamps(session)
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
        found: dict[int, Preset] = {}
        for start in range(0, len(ids), _ROWS_AT_ONCE):
            rows = await rows_of(session, ids[start : start + _ROWS_AT_ONCE])
            versions = await versions_of(session, ((row.id, row.served_version) for row in rows))
            found.update((row.id, Preset.of(row, versions[row.id])) for row in rows)
            await asyncio.sleep(0)
        return found


async def _read_stamps(session: AsyncSession) -> dict[int, datetime]:
    """When each preset last changed, by its id, in their order: some at a time, for it is read in
    the loop that serves calls, after every change of anything."""
    stamps: dict[int, datetime] = {}
    last = 0
    while True:
        statement = (
            select(PresetRow.id, PresetRow.updated_at)
            .where(PresetRow.deleted_at.is_(None), PresetRow.id > last)
            .order_by(PresetRow.id)
            .limit(_STAMPS_AT_ONCE)
        )
        rows = (await session.execute(statement)).all()
        stamps.update((row.id, row.updated_at) for row in rows)
        if len(rows) < _STAMPS_AT_ONCE:
            return stamps
        last = rows[-1].id
        await asyncio.sleep(0)
