"""The token `saga`, to which calls of `/_saga` are booked that come without one.

It is made when the first such call comes, where `AIEYE_SAGA_OPEN=true` lets it in. It belongs to a
user of its own, who cannot sign in and has nothing but what open calls made: nobody else's private
things are open to everybody. It has no secret at all: nobody can send it. An administrator may limit
or disable it as any other, or its user; once deleted they are made anew.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import SYSTEM, record
from aieye.access.secrets import OPEN_CALLS_DIGEST
from aieye.access.snapshot import USER
from aieye.db.engine import bump_revision
from aieye.db.tables import Token, User

NAME: Final = "saga"
EMAIL: Final = "saga@aieye.invalid"


async def is_open_token_disabled(session: AsyncSession) -> bool:
    """Whether somebody disabled it or its user: then calls without a token change nothing at all."""
    disabled = (
        select(Token.id)
        .join(User, User.id == Token.user_id)
        .where(
            Token.digest == OPEN_CALLS_DIGEST,
            Token.deleted_at.is_(None),
            User.deleted_at.is_(None),
            or_(Token.disabled_at.is_not(None), User.is_active.is_(False)),
        )
    )
    return await session.scalar(disabled) is not None


async def keep_open_token(session: AsyncSession) -> bool:
    """Make the token and its user where they are not there; whether it may be used."""
    await bump_revision(session)
    row = await session.scalar(select(Token).where(Token.digest == OPEN_CALLS_DIGEST))
    if row is not None and row.deleted_at is not None:
        row.digest = f"{OPEN_CALLS_DIGEST} {row.id}"
        await session.flush()
        row = None
    user = await _user(session)
    if row is None:
        row = Token(
            user_id=user.id, name=NAME, prefix=NAME, digest=OPEN_CALLS_DIGEST, scope="proxy"
        )  # fmt: skip
        session.add(row)
        await session.flush()
        record(session, SYSTEM, "token.create", "token", row.id, name=NAME, user_id=user.id)
    row.user_id = user.id
    return row.disabled_at is None and user.is_active


async def _user(session: AsyncSession) -> User:
    living = select(User).where(User.email == EMAIL, User.deleted_at.is_(None))
    if (user := await session.scalar(living)) is not None:
        return user
    user = User(email=EMAIL, name="Open calls", role=USER)
    session.add(user)
    await session.flush()
    record(session, SYSTEM, "user.create", "user", user.id, email=EMAIL, role=USER)
    return user
