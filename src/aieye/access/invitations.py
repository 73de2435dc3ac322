"""Links that let somebody who is a user already set a password: the first, or one that was forgotten.

A link is for one person, works once and for three days; a newer one for the same person ends it.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.access.secrets import make_secret
from aieye.access.sessions import end_all_sessions
from aieye.access.tokens import MakeDigest
from aieye.access.users import get_user, require_reach
from aieye.db.rows import find_living
from aieye.db.tables import SetupLink, User
from aieye.db.types import now
from aieye.errors import Conflict, NotFound

INVITATION_LIFE = timedelta(days=3)
# A link's use is noted as the act of whoever holds it.
_HOLDER = "invitation link"


class InvalidInvitation(NotFound):
    """The link was used, is over three days old, was replaced, or never was one."""

    code = "invalid_invitation"

    def __init__(self) -> None:
        super().__init__(
            "This link is not valid any more: it was used, replaced by a newer one, or is older than "
            "three days. Ask an administrator for another."
        )


async def invite(
    session: AsyncSession, make_digest: MakeDigest, user_id: int, *, actor: Actor
) -> tuple[str, datetime]:
    """A link's secret for the user, and when it ends; what was sent to them before ends now.

    Raises `Conflict` for a disabled user, `Forbidden`, `NotFound`.
    """
    user = await get_user(session, user_id, actor=actor)
    require_reach(user, actor)
    if not user.is_active:
        raise Conflict("This user is disabled: enable them first.")
    await session.execute(delete(SetupLink).where(SetupLink.user_id == user.id))
    secret, ends_at = make_secret(), now() + INVITATION_LIFE
    session.add(SetupLink(digest=make_digest(secret), expires_at=ends_at, user_id=user.id))
    record(session, actor, "user.invite", "user", user.id, email=user.email)
    return secret, ends_at


async def find_invited(session: AsyncSession, make_digest: MakeDigest, secret: str) -> User:
    """Whom the link is for. Raises `InvalidInvitation`."""
    user_id = await session.scalar(
        select(SetupLink.user_id).where(
            SetupLink.digest == make_digest(secret),
            SetupLink.user_id.is_not(None),
            SetupLink.used_at.is_(None),
            SetupLink.expires_at > now(),
        )
    )
    user = None if user_id is None else await find_living(session, User, user_id)
    if user is None or not user.is_active:
        raise InvalidInvitation
    return user


async def accept(
    session: AsyncSession, make_digest: MakeDigest, secret: str, *, password_hash: str, ip: str = ""
) -> User:
    """Set the password of whom the link is for, which then is used up; their sessions end.

    Raises `InvalidInvitation`.
    """
    # The row itself lets one caller through, of two at once.
    used = await session.execute(
        update(SetupLink)
        .where(SetupLink.digest == make_digest(secret), SetupLink.used_at.is_(None))
        .where(SetupLink.user_id.is_not(None), SetupLink.expires_at > now())
        .values(used_at=now())
        .returning(SetupLink.user_id)
    )
    user_id = used.scalar_one_or_none()
    user = None if user_id is None else await find_living(session, User, user_id)
    if user is None or not user.is_active:
        raise InvalidInvitation
    user.password_hash = password_hash
    await end_all_sessions(session, user.id)
    holder = Actor(user.id, _HOLDER, user.role, ip)
    record(session, holder, "user.accept_invitation", "user", user.id, email=user.email)
    return user
