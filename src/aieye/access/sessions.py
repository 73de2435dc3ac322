"""Signed-in browsers and scripts: a random cookie, its hash in the database, two time limits.

A session ends `IDLE` after its last request or `ABSOLUTE` after the sign-in, and at once when it is
signed out, when its user is disabled or deleted, and when that user's password or role changes.
Nothing about it is kept in memory, so that this holds in every process.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.attempts import attempt_of, count_attempt, forgive_attempt
from aieye.access.audit import Actor
from aieye.access.directory import ADMINISTRATOR
from aieye.access.emails import normal_email
from aieye.access.passwords import verify_password
from aieye.access.secrets import make_secret
from aieye.db.engine import Database, DatabaseUnavailable
from aieye.db.tables import Session, User
from aieye.db.types import now
from aieye.errors import Unauthenticated
from aieye.telemetry.loggers import get_logger

log = get_logger()

SESSION_COOKIE = "sessionid"
CSRF_COOKIE = "csrftoken"
IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)
# How exactly `last_seen_at` is kept: writing it with every request would cost a commit each.
SEEN_EVERY = timedelta(minutes=1)


class SignInFailed(Unauthenticated):
    """No such account, a wrong password, or an account that may not sign in: never told apart."""

    code = "sign_in_failed"

    def __init__(self) -> None:
        super().__init__("The e-mail address or the password is wrong.")


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session just begun. `cookie` is its secret and stored nowhere."""

    cookie: str = field(repr=False)
    csrf_token: str = field(repr=False)
    user_id: int


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The user of a valid session. `digest` names the session."""

    digest: str
    user_id: int
    email: str
    name: str
    role: str
    csrf_token: str = field(repr=False)
    expires_at: datetime

    @property
    def is_administrator(self) -> bool:
        return self.role == ADMINISTRATOR

    def actor(self, *, ip: str = "", request_id: str = "") -> Actor:
        """The user as the one who acts."""
        return Actor(self.user_id, self.email, self.role, ip, request_id)


async def login(
    database: Database, *, email: str, password: str, ip: str, user_agent: str = ""
) -> NewSession:
    """Sign in. Raises `SignInFailed`, or `TooManyAttempts` after too many failures.

    The password is checked between two short transactions: it takes long, and others write too.
    """
    attempt = attempt_of(normal_email(email), ip)
    async with database.write() as session:
        await count_attempt(session, attempt)
    async with database.read() as session:
        user = await _find_user(session, normal_email(email))
    stored = None if user is None else user.password_hash
    if not await verify_password(password, stored) or user is None:
        log.warning("sign_in_failed", ip=ip)
        raise SignInFailed
    async with database.write() as session:
        # What was true before the long check must still be: the password, and that it is active.
        if (await _find_user(session, user.email, stored)) is None:
            raise SignInFailed
        await forgive_attempt(session, attempt)
        begun = await start_session(session, user.id, ip=ip, user_agent=user_agent)
    log.info("signed_in", user_id=user.id, ip=ip)
    return begun


async def start_session(
    session: AsyncSession, user_id: int, *, ip: str, user_agent: str = ""
) -> NewSession:
    """Begin a session for a user whose identity is established. Removes sessions that are over."""
    await session.execute(delete(Session).where(is_over()))
    begun = NewSession(make_secret(), make_secret(), user_id)
    session.add(
        Session(
            digest=_digest(begun.cookie),
            user_id=user_id,
            csrf_token=begun.csrf_token,
            expires_at=now() + ABSOLUTE,
            ip=ip[:64],
            user_agent=_printable(user_agent)[:300],
        )
    )
    await session.flush()
    return begun


async def find_session(database: Database, cookie: str, *, is_use: bool = True) -> SignedIn | None:
    """Who is signed in with this cookie; None when nobody is (any more).

    What a page does by itself is no use of the session (`is_use`): it still ends when it rests.
    """
    digest = _digest(cookie)
    async with database.read() as session:
        row = (
            await session.execute(
                select(Session, User)
                .join(User, User.id == Session.user_id)
                .where(Session.digest == digest, ~is_over(), *_may_sign_in())
            )
        ).one_or_none()
    if row is None:
        return None
    found, user = row
    if is_use and found.last_seen_at <= now() - SEEN_EVERY:
        # Who only looks sees all the same, also while the database takes no changes.
        with suppress(DatabaseUnavailable):
            await _touch(database, digest)
    return SignedIn(
        digest, user.id, user.email, user.name, user.role, found.csrf_token, found.expires_at
    )


async def end_session(session: AsyncSession, cookie: str) -> None:
    """Sign out. A cookie that means nothing is no error."""
    await session.execute(delete(Session).where(Session.digest == _digest(cookie)))


async def end_named_session(session: AsyncSession, digest: str, *, user_id: int) -> bool:
    """End the session that `digest` names if it is the user's; whether there was one."""
    ended = await session.execute(
        delete(Session)
        .where(Session.digest == _storable(digest), Session.user_id == user_id)
        .returning(Session.digest)
    )
    return ended.first() is not None


async def end_all_sessions(session: AsyncSession, user_id: int) -> None:
    """Sign a user out everywhere."""
    await session.execute(delete(Session).where(Session.user_id == user_id))


async def list_sessions(session: AsyncSession, user_id: int) -> Sequence[Session]:
    """A user's sessions, the last used first."""
    valid = select(Session).where(Session.user_id == user_id, ~is_over())
    return (await session.scalars(valid.order_by(Session.last_seen_at.desc()))).all()


async def _touch(database: Database, digest: str) -> None:
    async with database.write() as session:
        await session.execute(
            update(Session).where(Session.digest == digest).values(last_seen_at=now())
        )


async def _find_user(
    session: AsyncSession, email: str, password_hash: str | None = None
) -> User | None:
    statement = select(User).where(User.email == _storable(email), *_may_sign_in())
    if password_hash is not None:
        statement = statement.where(User.password_hash == password_hash).with_for_update()
    return await session.scalar(statement)


def _may_sign_in() -> tuple[ColumnElement[bool], ...]:
    return (User.is_active.is_(True), User.deleted_at.is_(None), User.is_builtin.is_(False))


def is_over() -> ColumnElement[bool]:
    """Whether a session can be used no more."""
    moment = now()
    return or_(Session.expires_at <= moment, Session.last_seen_at <= moment - IDLE)


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()


def _storable(text: str) -> str:
    """`text` as both databases take it: without NUL and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _printable(text: str) -> str:
    return "".join(char for char in _storable(text) if char.isprintable())
