"""Changes from forms: nobody overwrites unseen what somebody else saved meanwhile.

A form carries the version of the row that it shows. `changing` lets one change through at a time, so
that between the look and the change nobody comes in between; a row of another version is
`ChangedMeanwhile`, and the form comes again with both values.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.owners import one_at_a_time
from aieye.db.tables import Stamped
from aieye.db.types import to_micros
from aieye.errors import Conflict
from aieye.state import State, change
from aieye.ui.forms import Fields

VERSION = "version"


class ChangedMeanwhile(Conflict):
    """Somebody saved the row after the form was opened."""

    code = "changed_meanwhile"

    def __init__(self) -> None:
        super().__init__(
            "Somebody changed this meanwhile. Where it differs from yours, the field says what is "
            "stored now; saving again puts yours in its place."
        )


@asynccontextmanager
async def changing(state: State) -> AsyncIterator[AsyncSession]:
    """A change that looks before it changes."""
    async with change(state) as session:
        await one_at_a_time(session)
        yield session


def version_of(row: Stamped) -> str:
    """What a form carries of the row that it shows."""
    return str(to_micros(row.updated_at))


def require_version(row: Stamped, fields: Fields) -> None:
    """Raises `ChangedMeanwhile` unless the row is as the form showed it."""
    if fields.get(VERSION) != version_of(row):
        raise ChangedMeanwhile


def differences(
    stored: Mapping[str, str], typed: Mapping[str, str], secret: frozenset[str] = frozenset()
) -> dict[str, str]:
    """What the fields say whose stored value is not what was typed."""
    return {
        name: f"Stored now: {value or 'nothing'}"
        for name, value in stored.items()
        if name not in secret and typed.get(name, "").strip() != value
    }
