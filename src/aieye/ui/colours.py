"""The colours of what charts show: who came first has the first, and keeps it.

The order is stored, so that a model has one colour in every chart, time and process. Of each kind as
many are remembered as charts of one installation may well show; the names beyond them, which anybody
with a token can make up, have the colour of their hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.engine import Database
from aieye.db.tables import ChartName
from aieye.ui.charts.colours import colours_of

MOST_REMEMBERED = 64
# Whoever is first wins; the same on SQLite and PostgreSQL.
_REMEMBER = text(
    """
    INSERT INTO chart_names (kind, value) VALUES (:kind, :value) ON CONFLICT (kind, value) DO NOTHING
    """
)

# By kind, then by value as filters name it.
Colours = Mapping[str, Mapping[str, int]]
_Places = dict[str, dict[str, int]]


async def find_colours(database: Database, shown: Mapping[str, Sequence[str]]) -> Colours:
    """The colours of the values `shown` of each kind, the most important first, apart within a kind.

    What was never shown before is remembered from now on, in that order.
    """
    async with database.read() as session:
        places = await _places(session)
    unknown = [
        {"kind": kind, "value": value}
        for kind, values in shown.items()
        for value in values
        if value not in places.get(kind, {}) and len(places.get(kind, {})) < MOST_REMEMBERED
    ]
    if unknown:
        async with database.write() as session:
            await session.execute(_REMEMBER, unknown)
            places = await _places(session)
    return {
        kind: colours_of({value: _place(places.get(kind, {}), value) for value in values})
        for kind, values in shown.items()
    }


async def _places(session: AsyncSession) -> _Places:
    names = select(ChartName.kind, ChartName.value).order_by(ChartName.id)
    places: _Places = {}
    for kind, value in await session.execute(names):
        of_kind = places.setdefault(kind, {})
        of_kind[value] = len(of_kind)
    return places


def _place(places: Mapping[str, int], value: str) -> int:
    """After all that are remembered, for one that is not."""
    digest = hashlib.sha256(value.encode("utf-8", "replace")).digest()
    return places.get(value, 2 * MOST_REMEMBERED + int.from_bytes(digest[:4]))
