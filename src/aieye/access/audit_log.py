"""Reading the log of administrators' acts: which there are, and what each of them changed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.db.engine import Database
from aieye.db.tables import AuditEntry
from aieye.errors import NotFound
from aieye.spreadsheets import cell, csv_rows

COLUMNS = (
    "at", "actor", "actor_user_id", "action", "object_type", "object_id", "details", "ip",
    "request_id",
)  # fmt: skip
# How far back what may be chosen from is looked for, and what a thing was before.
NEWEST = 5_000
_EARLIER = 100
_PART = 500


@dataclass(frozen=True, slots=True)
class ActFilters:
    """What acts must be; None is any. `actor_user_id` is null in the acts of the command line."""

    actor_user_id: int | None = None
    actor: str | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        for name in ("actor_user_id", "actor", "action", "object_type", "object_id"):
            value = getattr(self, name)
            if value is not None:
                yield getattr(AuditEntry, name) == value
        if self.since is not None:
            yield AuditEntry.at >= self.since
        if self.until is not None:
            yield AuditEntry.at < self.until


@dataclass(frozen=True, slots=True)
class Changed:
    """A detail of an act. `before` is what the acts before it on the same thing said last, and
    `is_known` whether any of them did."""

    name: str
    before: Any
    after: Any
    is_known: bool

    @property
    def is_other(self) -> bool:
        return self.is_known and self.before != self.after


async def list_acts(
    session: AsyncSession, filters: ActFilters, *, before: int | None = None, limit: int
) -> Sequence[AuditEntry]:
    """The newest acts first, older than the one with the id `before`."""
    statement = select(AuditEntry).where(*filters.conditions())
    if before is not None:
        statement = statement.where(AuditEntry.id < before)
    statement = statement.order_by(AuditEntry.id.desc()).limit(limit)
    return (await session.scalars(statement)).all()


async def get_act(session: AsyncSession, entry_id: int) -> AuditEntry:
    """The act. Raises `NotFound`."""
    entry = await session.get(AuditEntry, entry_id)
    if entry is None:
        raise NotFound(f"There is no audit entry {entry_id}.")
    return entry


async def find_changes(session: AsyncSession, act: AuditEntry) -> Sequence[Changed]:
    """What the act says of its thing, with what was before: as the act says (`was`), or else as is
    on record of acts before it."""
    before: dict[str, Any] = dict(act.details.get("was") or {})
    for entry in await _earlier(session, act):
        for name, value in entry.details.items():
            before.setdefault(name, value)
    return [
        Changed(name, before.get(name), value, name in before)
        for name, value in act.details.items()
        if name != "was"
    ]


async def find_values(session: AsyncSession) -> Mapping[str, Sequence[str]]:
    """Actors, actions and kinds of things that the newest acts have: to choose from."""
    columns = (AuditEntry.actor, AuditEntry.action, AuditEntry.object_type)
    newest = select(*columns).order_by(AuditEntry.id.desc()).limit(NEWEST)
    found: dict[str, set[str]] = {"actor": set(), "action": set(), "object_type": set()}
    for actor, action, object_type in await session.execute(newest):
        found["actor"].add(actor)
        found["action"].add(action)
        found["object_type"].add(object_type)
    return {name: sorted(values) for name, values in found.items()}


async def export_acts(database: Database, filters: ActFilters) -> AsyncIterator[bytes]:
    """The acts as parts of a CSV file, newest first. No session is open while a part goes out.

    Raises `DatabaseUnavailable`.
    """
    yield csv_rows([COLUMNS])
    before: int | None = None
    while True:
        async with database.read() as session:
            acts = await list_acts(session, filters, before=before, limit=_PART)
        if acts:
            yield csv_rows([cell(getattr(act, name)) for name in COLUMNS] for act in acts)
        if len(acts) < _PART:
            return
        before = acts[-1].id


async def _earlier(session: AsyncSession, act: AuditEntry) -> Sequence[AuditEntry]:
    of_same = ActFilters(object_type=act.object_type, object_id=act.object_id)
    # "*" stands for several things, of which none is the other.
    if act.object_id == "*":
        return ()
    return await list_acts(session, of_same, before=act.id, limit=_EARLIER)
