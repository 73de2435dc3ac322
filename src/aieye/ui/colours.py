"""The colours of what charts show: who came first has the first, and keeps it.

The order is stored, so that a model has one colour in every chart, time and process. Of each kind as
many are remembered as charts of one installation may well show; all others have the colour of their
hash. Anybody with a token can make up names, and look at them: remembered is only what an
administrator was shown and a call of which was answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.owners import one_at_a_time
from aieye.db.engine import Database, DatabaseUnavailable
from aieye.db.tables import ChartName, UsageDimension
from aieye.ledger.queries.usage_sums import DIMENSIONS
from aieye.ui.charts.colours import colours_of

MOST_REMEMBERED = 64

# By kind, then by value as filters name it.
Colours = Mapping[str, Mapping[str, int]]
_Places = dict[str, dict[str, int]]
_Values = Mapping[str, Sequence[str]]


async def find_colours(database: Database, shown: _Values, *, is_administrator: bool) -> Colours:
    """The colours of the values `shown` of each kind, the most important first, apart within a kind.

    What no administrator was shown before is remembered from now on, in that order.
    """
    async with database.read() as session:
        places = await _places(session)
        new = await _new(session, places, shown) if is_administrator else {}
    if any(new.values()):
        # Who only looks sees all the same, also while the database takes no changes.
        with suppress(DatabaseUnavailable):
            places = await _remember(database, new)
    return {
        kind: colours_of({value: _place(places.get(kind, {}), value) for value in values})
        for kind, values in shown.items()
    }


async def _new(session: AsyncSession, places: _Places, shown: _Values) -> _Values:
    """What is to be remembered: values that have no place yet and a call that was answered."""
    new = {}
    for kind, values in shown.items():
        of_kind = places.get(kind, {})
        unknown = [value for value in values if value not in of_kind]
        if unknown and len(of_kind) < MOST_REMEMBERED:
            answered = await _answered(session, kind, unknown)
            new[kind] = [value for value in unknown if value in answered]
    return new


async def _answered(session: AsyncSession, kind: str, values: Sequence[str]) -> set[str]:
    column = DIMENSIONS[kind]
    asked = values if column.type.python_type is str else list(map(int, values))
    was_answered = UsageDimension.status.between(200, 299)
    found = select(column).where(column.in_(asked), was_answered).distinct()
    return {str(value) for value in await session.scalars(found)}


async def _remember(database: Database, new: _Values) -> _Places:
    """The places of all, those of the new ones behind the others'."""
    async with database.write() as session:
        # Two that remember the same in different orders would wait for each other for ever.
        await one_at_a_time(session)
        places = await _places(session)
        for kind, values in new.items():
            of_kind = places.setdefault(kind, {})
            for value in values:
                if value not in of_kind and len(of_kind) < MOST_REMEMBERED:
                    of_kind[value] = len(of_kind)
                    session.add(ChartName(kind=kind, value=value))
    return places


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
