"""Whose the objects kept at a provider are: files, batches, vector stores, stored responses and their items.

An id belongs to the user whose token made it and to the key it was made with: for anyone else it
is 404, and later calls use the same key. An id that AI-Eye has not seen being made (older than
itself) is open to administrators only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from sqlalchemy import select

from aieye.access.snapshot import Grant, Snapshot
from aieye.db.batches import Target
from aieye.db.engine import Database
from aieye.db.group_writer import GroupWriter
from aieye.db.tables import OwnedObject
from aieye.errors import NotFound
from aieye.gateway.references import is_id
from aieye.gateway.routing import Candidate, with_key

OWNED = Target(
    OwnedObject.__table__,  # type: ignore[arg-type] # declared as FromClause, is a Table
    ("external_id", "provider_id", "user_id", "key_id", "kind", "created_at"),
    ("external_id", "provider_id", "user_id"),
    "ignore",
)
# A provider's id and that of its key, None where any of its keys will do.
Place = tuple[int, int | None]
# How many ids are asked for at once: databases bound the parameters of a query.
_MOST_ASKED = 500
_MOST_NOTED = 10_000


class NoSuchObject(NotFound):
    """The object does not exist, or is somebody else's."""

    code = "object_not_found"


def candidate_at(snapshot: Snapshot, place: Place, model: str | None = None) -> Candidate | None:
    """The provider with the key of `place`; None when either is not in use any more."""
    provider = snapshot.providers_by_id.get(place[0])
    if provider is None:
        return None
    found = with_key(Candidate(provider, provider.keys, model), place[1])
    return found if found.keys else None


class Owned:
    """Reads and writes who owns what."""

    def __init__(self, database: Database, writer: GroupWriter) -> None:
        self._database = database
        self._writer = writer
        self._noted: set[tuple[str, int, int]] = set()

    def note(self, grant: Grant, external_id: str, kind: str, place: Place) -> bool:
        """The caller now owns the object, written with the next batch; whether that is news."""
        provider_id, key_id = place
        key = (external_id, provider_id, grant.user_id)
        if key in self._noted:
            return False
        if len(self._noted) >= _MOST_NOTED:
            self._noted.clear()
        self._noted.add(key)
        self._writer.put(OWNED, key, (*key, key_id, kind, time.time_ns() // 1000))
        return True

    async def durable(self) -> None:
        """Wait until what was noted is written."""
        await self._writer.durable()

    async def check(self, grant: Grant, ids: Iterable[str]) -> Place | None:
        """Where the ids were made; None when none of them is known.

        Raises `NoSuchObject` for an id that is not the caller's to name.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return None
        for external_id in wanted:
            if not is_id(external_id):
                raise NoSuchObject("There is no object of that id.")
        own, known = await self.places(grant, wanted)
        for external_id in wanted:
            if external_id in own:
                continue
            if external_id in known or not grant.is_administrator:
                raise NoSuchObject(f"There is no object {external_id[:100]!a}.")
        return next(iter(own.values()), None)

    async def places(
        self, grant: Grant, ids: Sequence[str]
    ) -> tuple[dict[str, Place], frozenset[str]]:
        """Of `ids`, where the caller's own were made, and which are known to be anybody's."""
        # What was made a moment ago may still be on its way to the database.
        await self._writer.durable()
        rows: list[OwnedObject] = []
        async with self._database.read() as session:
            for start in range(0, len(ids), _MOST_ASKED):
                asked = OwnedObject.external_id.in_(ids[start : start + _MOST_ASKED])
                rows += await session.scalars(select(OwnedObject).where(asked))
        own = {
            row.external_id: (row.provider_id, row.key_id)
            for row in rows
            if row.user_id == grant.user_id
        }
        return own, frozenset(row.external_id for row in rows)

    async def places_of_kind(self, grant: Grant, kind: str) -> list[Place]:
        """Where the caller's objects of a kind were made, each place once, in order."""
        await self._writer.durable()
        statement = (
            select(OwnedObject.provider_id, OwnedObject.key_id)
            .where(OwnedObject.user_id == grant.user_id, OwnedObject.kind == kind)
            .distinct()
        )
        async with self._database.read() as session:
            rows = (await session.execute(statement)).all()
        return sorted(
            ((row[0], row[1]) for row in rows), key=lambda place: (place[0], place[1] or 0)
        )
