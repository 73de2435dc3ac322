"""What people write for pipelines to call: who may see and change it, its versions and labels.

Everybody sees their own and what is shared, administrators everything. Only the owner and
administrators change it; what somebody may not see does not exist for them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar

from sqlalchemy import ColumnElement, func, or_, select, true
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute

from aieye.access.audit import Actor
from aieye.access.names import Kind, check_callable_name, free_name, take_name
from aieye.access.owners import default_owner
from aieye.access.texts import check_name
from aieye.access.uses import refuse_while_used
from aieye.db.rows import LARGEST_ID, find_living, keyset
from aieye.db.tables import Authored, Base, Pipeline, Preset, Prompt, User
from aieye.db.types import now
from aieye.errors import Forbidden, NotFound, Unprocessable

PRODUCTION: Final = "production"
"""The label of the version that runs. Without it the newest runs."""

MOST_LABELS: Final = 20

UNDO_WITHIN: Final = timedelta(hours=1)
"""How long after a deletion it can be taken back."""

_KINDS: Final[Mapping[type[Base], Kind]] = {
    Prompt: "prompt",
    Preset: "preset",
    Pipeline: "pipeline",
}

AuthoredT = TypeVar("AuthoredT", Prompt, Pipeline, Preset)
Whose = Literal["mine", "shared"]


class DeletedLately(NotFound):
    """It was deleted a short while ago, and whoever asks may take that back."""

    def __init__(self, kind: Kind, row_id: int, name: str, deleted_at: datetime) -> None:
        until = f"{deleted_at + UNDO_WITHIN:%H:%M} UTC"
        super().__init__(
            f"The {kind} {name!r} was deleted. Until {until} it can be brought back at /{kind}s."
        )
        self.kind, self.row_id = kind, row_id


async def list_visible(
    session: AsyncSession,
    table: type[AuthoredT],
    *,
    actor: Actor,
    name: str | None = None,
    user_id: int | None = None,
    where: ColumnElement[bool] | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[AuthoredT]:
    """What `actor` may see, in the order of its making; of this name, of this user, if given."""
    statement = select(table).where(table.deleted_at.is_(None), may_see(table, actor))
    if name is not None:
        statement = statement.where(table.name == name)
    if user_id is not None:
        statement = statement.where(table.user_id == user_id)
    if where is not None:
        statement = statement.where(where)
    return (await session.scalars(keyset(statement, table.id, after=after, limit=limit))).all()


async def list_newest(
    session: AsyncSession,
    table: type[AuthoredT],
    *,
    actor: Actor,
    text: str = "",
    also: Sequence[InstrumentedAttribute[str]] = (),
    whose: Whose | None = None,
    where: ColumnElement[bool] | None = None,
    before: int | None = None,
    limit: int,
) -> Sequence[tuple[AuthoredT, User]]:
    """What `actor` may see with its owners, the newest first, from before the id `before` back.

    `text` is a part of the name or of the columns `also`, whatever its case. `whose` leaves the
    actor's own ones alone, or those that are shared.
    """
    statement = (
        select(table, User)
        .join(User, User.id == table.user_id)
        .where(table.deleted_at.is_(None), may_see(table, actor))
        .order_by(table.id.desc())
        .limit(limit)
    )
    if whose == "mine":
        statement = statement.where(table.user_id == actor.user_id)
    elif whose == "shared":
        statement = statement.where(table.is_shared)
    if before is not None:
        statement = statement.where(table.id < before)
    if text:
        found = (
            func.lower(one).contains(text.lower(), autoescape=True) for one in (table.name, *also)
        )
        statement = statement.where(or_(*found))
    if where is not None:
        statement = statement.where(where)
    return [(row, user) for row, user in await session.execute(statement)]


async def get_visible(
    session: AsyncSession, table: type[AuthoredT], row_id: int, *, actor: Actor
) -> AuthoredT:
    """The row. Raises `NotFound`, also when it is another's and not shared, and `DeletedLately`."""
    row = await find_living(session, table, row_id)
    if row is None:
        deleted = await find_deleted(session, table, row_id, actor=actor)
        raise missing(table, row_id, deleted)
    if not (row.is_shared or actor.may_see(row.user_id)):
        raise NotFound(f"There is no {_kind(table)} {row_id}.")
    return row


async def get_id(session: AsyncSession, table: type[AuthoredT], name: str, *, actor: Actor) -> int:
    """The id of the one of this name. Raises `NotFound`, also when it is another's and not shared."""
    found = None
    # No other text is a name, and not every text can be asked of every database.
    if name.isprintable():
        visible = select(table.id).where(table.deleted_at.is_(None), may_see(table, actor))
        found = await session.scalar(visible.where(table.name == name))
    if found is None:
        raise NotFound(f"There is no {_kind(table)} {name[:100]!r}.")
    return found


async def get_changeable(
    session: AsyncSession, table: type[AuthoredT], row_id: int, *, actor: Actor
) -> AuthoredT:
    """The row, to change it. Raises `NotFound`, and `Forbidden` when it is only shared."""
    row = await get_visible(session, table, row_id, actor=actor)
    if not actor.may_see(row.user_id):
        raise Forbidden(f"Only its owner and administrators change a {_kind(table)}.")
    return row


async def owner_of_new(session: AsyncSession, actor: Actor) -> int:
    """Whose it is what `actor` makes."""
    return actor.user_id or (await default_owner(session)).id


async def add(session: AsyncSession, row: AuthoredT) -> None:
    """Store a new one under its name. Raises `NameTaken`, `Unprocessable`."""
    check_callable_name(row.name)
    session.add(row)
    await session.flush()
    await take_name(session, row.name, _kind(type(row)), row.id)


async def rename(
    session: AsyncSession, row: AuthoredT, name: str, *, force: bool, actor: Actor
) -> None:
    """Give it another name. Pipelines that call it go on doing so; their texts keep the old name.

    Raises `InUse` unless `force`, `NameTaken`, `Unprocessable`.
    """
    if name == row.name:
        return
    check_callable_name(name)
    kind = _kind(type(row))
    if not force:
        await refuse_while_used(session, kind, row.id, actor=actor)
    await take_name(session, name, kind, row.id)
    row.name = name


async def share(
    session: AsyncSession, row: AuthoredT, is_shared: bool, *, force: bool, actor: Actor
) -> None:
    """Let everybody use it, or only its owner: then pipelines of others that call it fail.

    Raises `InUse` while there are such, unless `force`.
    """
    if row.is_shared and not is_shared and not force:
        kind = _kind(type(row))
        await refuse_while_used(session, kind, row.id, actor=actor, owner_id=row.user_id)
    row.is_shared = is_shared


async def remove(session: AsyncSession, row: AuthoredT, *, force: bool, actor: Actor) -> None:
    """Delete it; another may have its name. Raises `InUse` unless `force`."""
    kind = _kind(type(row))
    if not force:
        await refuse_while_used(session, kind, row.id, actor=actor)
    await free_name(session, kind, row.id)
    row.deleted_at = now()


async def find_deleted(
    session: AsyncSession, table: type[AuthoredT], row_id: int, *, actor: Actor
) -> AuthoredT | None:
    """The row that was deleted a short while ago, if `actor` may take that back."""
    row = await session.get(table, row_id) if 0 < row_id <= LARGEST_ID else None
    return row if row is not None and may_restore(row, actor) else None


def may_restore(row: AuthoredT, actor: Actor) -> bool:
    """Whether it was deleted, and `actor` may still take that back."""
    deleted_at = row.deleted_at
    return (
        deleted_at is not None and deleted_at >= now() - UNDO_WITHIN and actor.may_see(row.user_id)
    )


def missing(table: type[AuthoredT], named: int | str, deleted: AuthoredT | None) -> NotFound:
    """That there is none such; of one that was just `deleted`, that this can be taken back."""
    kind = _kind(table)
    if deleted is None or deleted.deleted_at is None:
        return NotFound(f"There is no {kind} {named!r}.")
    return DeletedLately(kind, deleted.id, deleted.name, deleted.deleted_at)


async def get_deleted(
    session: AsyncSession, table: type[AuthoredT], row_id: int, *, actor: Actor
) -> AuthoredT:
    """The row that was deleted a short while ago, to take that back. Raises `NotFound`."""
    row = await find_deleted(session, table, row_id, actor=actor)
    if row is None:
        raise NotFound(f"There is no {_kind(table)} {row_id} whose deletion can be undone.")
    return row


async def restore(session: AsyncSession, row: AuthoredT) -> None:
    """Take its deletion back: it has its id, its versions and its name again. Raises `NameTaken`."""
    await take_name(session, row.name, _kind(type(row)), row.id)
    row.deleted_at = None


# -- versions and labels -----------------------------------------------------------------------


def number_next(row: Authored) -> int:
    """The number of its next version, which is the newest from now on."""
    row.version += 1
    _serve(row)
    return row.version


def set_label(row: Authored, label: str, number: int | None) -> None:
    """Let a label name a version, or none. Raises `NotFound`, `Unprocessable`."""
    check_name(label, param="label")
    if number is not None:
        check_number(row, number)
    labels = {key: value for key, value in row.labels.items() if key != label}
    if number is not None:
        labels[label] = number
    if len(labels) > MOST_LABELS:
        raise Unprocessable(f"There are {MOST_LABELS} labels at most.", param="label")
    row.labels = dict(sorted(labels.items()))
    _serve(row)


def check_number(row: Authored, number: int) -> int:
    """`number`, which should be one of its versions. Raises `NotFound`."""
    if not 1 <= number <= row.version:
        raise NotFound(f"There is no version {number}.", param="version")
    return number


def _serve(row: Authored) -> None:
    row.served_version = row.labels.get(PRODUCTION, row.version)


def may_see(table: type[AuthoredT], actor: Actor) -> ColumnElement[bool]:
    """That a row of the table is the actor's own or shared; of administrators every row."""
    if actor.is_administrator:
        return true()
    return or_(table.is_shared, table.user_id == actor.user_id)


def _kind(table: type[Base]) -> Kind:
    return _KINDS[table]
