"""The token `saga`, to which calls of `/_saga` are booked that come without one.

It is made when the first such call comes, where `AIEYE_SAGA_OPEN=true` lets it in. It belongs to the
first administrator, until there is one to the built-in owner. It has no secret at all: nobody can
send it. An administrator may limit or disable it as any other; once deleted it is made anew.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import SYSTEM, record
from aieye.access.owners import default_owner
from aieye.access.secrets import OPEN_CALLS_DIGEST
from aieye.db.engine import bump_revision
from aieye.db.tables import Token, User

NAME: Final = "saga"


async def is_open_token_disabled(session: AsyncSession) -> bool:
    """Whether an administrator disabled it: then calls without a token change nothing at all."""
    disabled = select(Token.id).where(
        Token.digest == OPEN_CALLS_DIGEST,
        Token.disabled_at.is_not(None),
        Token.deleted_at.is_(None),
    )
    return await session.scalar(disabled) is not None


async def keep_open_token(session: AsyncSession) -> bool:
    """Make the token where it is not there, and give it to somebody who is; whether it may be used."""
    await bump_revision(session)
    row = await session.scalar(select(Token).where(Token.digest == OPEN_CALLS_DIGEST))
    if row is not None and row.deleted_at is not None:
        row.digest = f"{OPEN_CALLS_DIGEST} {row.id}"
        await session.flush()
        row = None
    owner = await default_owner(session)
    if row is None:
        row = Token(
            user_id=owner.id, name=NAME, prefix=NAME, digest=OPEN_CALLS_DIGEST, scope="proxy"
        )  # fmt: skip
        session.add(row)
        await session.flush()
        record(session, SYSTEM, "token.create", "token", row.id, name=NAME, user_id=owner.id)
    holder = await session.get(User, row.user_id)
    if holder is None or not holder.is_active or holder.deleted_at is not None:
        row.user_id = owner.id
    return row.disabled_at is None
