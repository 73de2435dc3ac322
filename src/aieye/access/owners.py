"""Who owns and who administers: the built-in owner, and the administrators there are.

What is made before anybody signed up belongs to the built-in owner, who cannot sign in. The first
administrator takes that owner's place: the row itself becomes theirs, and with it all that it owns.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.directory import ADMINISTRATOR
from aieye.db.tables import Revision, User

BUILTIN_EMAIL = "owner@aieye.invalid"


async def one_at_a_time(session: AsyncSession) -> None:
    """Hold off everybody else who calls this until the transaction ends (SQLite has one writer)."""
    await session.execute(select(Revision.value).with_for_update())


async def has_administrator(session: AsyncSession) -> bool:
    """Whether somebody can sign in and administer."""
    return await count_administrators(session) > 0


async def count_administrators(session: AsyncSession, *, without: int = 0) -> int:
    """How many can sign in and administer, the user with the id `without` left out."""
    others = select(func.count()).where(User.id != without, *_administers())
    return await session.scalar(others) or 0


async def default_owner(session: AsyncSession) -> User:
    """Whose things are that name no user: the first administrator's, until then the owner's."""
    first = select(User).where(*_administers()).order_by(User.id).limit(1)
    return await session.scalar(first) or await builtin_owner(session)


async def builtin_owner(session: AsyncSession) -> User:
    """The owner of what was made before anybody signed up; made when there is none."""
    builtin = select(User).where(User.is_builtin, User.deleted_at.is_(None))
    if (owner := await session.scalar(builtin)) is not None:
        return owner
    await one_at_a_time(session)
    if (owner := await session.scalar(builtin)) is not None:
        return owner
    owner = User(email=BUILTIN_EMAIL, name="Built-in owner", role=ADMINISTRATOR, is_builtin=True)
    session.add(owner)
    await session.flush()
    return owner


def _administers() -> tuple[ColumnElement[bool], ...]:
    return (
        User.role == ADMINISTRATOR,
        User.is_active.is_(True),
        User.is_builtin.is_(False),
        User.deleted_at.is_(None),
    )
