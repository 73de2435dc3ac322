"""Lists of tokens as pages show them: the newest first, found by name, owner and state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor
from aieye.db.tables import Token, User
from aieye.db.types import now

State = Literal["active", "disabled", "expired"]
STATES: tuple[State, ...] = ("active", "disabled", "expired")


def state_of(token: Token) -> State:
    """Whether the token can be used, or why not."""
    if token.disabled_at is not None:
        return "disabled"
    return "expired" if token.expires_at is not None and token.expires_at <= now() else "active"


async def newest_tokens(
    session: AsyncSession,
    *,
    actor: Actor,
    user_id: int | None = None,
    state: State | None = None,
    text: str = "",
    before: int | None = None,
    limit: int,
) -> Sequence[tuple[Token, User]]:
    """The tokens that `actor` may see with their owners, from before the id `before` back.

    `text` is a part of the name or of what is shown of the secret, whatever its case.
    """
    statement = (
        select(Token, User)
        .join(User, User.id == Token.user_id)
        .where(Token.deleted_at.is_(None))
        .order_by(Token.id.desc())
        .limit(limit)
    )
    if not actor.is_administrator:
        statement = statement.where(Token.user_id == actor.user_id)
    if user_id is not None:
        statement = statement.where(Token.user_id == user_id)
    if before is not None:
        statement = statement.where(Token.id < before)
    if text:
        wanted = text.lower()
        statement = statement.where(
            or_(
                func.lower(Token.name).contains(wanted, autoescape=True),
                func.lower(Token.prefix).contains(wanted, autoescape=True),
            )
        )
    is_over = (Token.expires_at.is_not(None)) & (Token.expires_at <= now())
    if state == "disabled":
        statement = statement.where(Token.disabled_at.is_not(None))
    elif state == "expired":
        statement = statement.where(Token.disabled_at.is_(None), is_over)
    elif state == "active":
        statement = statement.where(Token.disabled_at.is_(None), ~is_over)
    return [(token, user) for token, user in await session.execute(statement)]
