"""Users: who may sign in and whose tokens call. There is always somebody left who administers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.access.directory import ADMINISTRATOR, USER
from aieye.access.emails import check_email
from aieye.access.owners import (
    BUILTIN_EMAIL,
    builtin_owner,
    count_administrators,
    default_owner,
    has_administrator,
    one_at_a_time,
)
from aieye.access.sessions import end_all_sessions
from aieye.access.texts import check_label
from aieye.db.engine import bump_revision
from aieye.db.rows import find_living, get_living, insert_unique, keyset
from aieye.db.tables import Pipeline, Preset, Prompt, Token, User
from aieye.db.types import now
from aieye.errors import Conflict, Forbidden, NotFound, Unprocessable

__all__ = [
    "BUILTIN_EMAIL",
    "ROLES",
    "AdministratorExists",
    "LastAdministrator",
    "UserChanges",
    "UserExists",
    "builtin_owner",
    "create_first_administrator",
    "create_user",
    "default_owner",
    "delete_user",
    "end_sessions",
    "find_user",
    "get_user",
    "has_administrator",
    "list_users",
    "require_reach",
    "update_user",
]

ROLES = (ADMINISTRATOR, USER)
_OWN_CHANGES = frozenset({"name", "password_hash"})


class UserExists(Conflict):
    """Somebody has this e-mail address already."""

    code = "user_exists"


class LastAdministrator(Conflict):
    """Nobody else could administer: make another administrator first."""

    code = "last_administrator"

    def __init__(self) -> None:
        super().__init__("This is the last active administrator: make another one first.")


class AdministratorExists(Conflict):
    """There is an administrator already, who makes further ones."""

    code = "administrator_exists"

    def __init__(self) -> None:
        super().__init__("There is an administrator already: sign in.")


class UserChanges(TypedDict, total=False):
    """What of a user may be changed; what is left out stays."""

    name: str
    role: str
    is_active: bool
    password_hash: str


async def list_users(
    session: AsyncSession, *, actor: Actor, after: int | None = None, limit: int | None = None
) -> Sequence[User]:
    """The users that `actor` may see, in the order of their making, from behind the id `after`."""
    statement = select(User).where(User.deleted_at.is_(None))
    if not actor.is_administrator:
        statement = statement.where(User.id == actor.user_id)
    return (await session.scalars(keyset(statement, User.id, after=after, limit=limit))).all()


async def get_user(session: AsyncSession, user_id: int, *, actor: Actor) -> User:
    """The user. Raises `NotFound`, also when `actor` may not see them."""
    user = await get_living(session, User, user_id)
    if not actor.may_see(user.id):
        raise NotFound(f"There is no user {user_id}.")
    return user


async def find_user(session: AsyncSession, email: str) -> User | None:
    """The user with this e-mail address (in normal form)."""
    return await session.scalar(select(User).where(User.email == email, User.deleted_at.is_(None)))


async def create_user(
    session: AsyncSession,
    *,
    email: str,
    name: str = "",
    role: str = USER,
    password_hash: str | None,
    actor: Actor,
) -> User:
    """Add a user; without a password hash they cannot sign in.

    Raises `UserExists`, `Forbidden`, `Unprocessable`.
    """
    _require_administrator(actor)
    if password_hash is not None:
        _require_no_limits(actor)
    address = check_email(email)
    user = User(
        email=address, name=_checked_name(name), role=_checked_role(role),
        password_hash=password_hash,
    )  # fmt: skip
    try:
        await insert_unique(session, user, clash="", param="email")
    except Conflict as error:
        raise UserExists("Somebody has this e-mail address already.", param="email") from error
    record(session, actor, "user.create", "user", user.id, email=address, role=user.role)
    await bump_revision(session)
    return user


async def create_first_administrator(
    session: AsyncSession, *, email: str, name: str = "", password_hash: str, actor: Actor
) -> User:
    """Make the first administrator, who inherits all that the built-in owner has.

    Raises `AdministratorExists`, `UserExists`, `Unprocessable`.
    """
    address, shown = check_email(email), _checked_name(name)
    await one_at_a_time(session)
    if await has_administrator(session):
        raise AdministratorExists
    if await find_user(session, address) is not None:
        raise UserExists("Somebody has this e-mail address already.", param="email")
    user = await builtin_owner(session)
    user.email, user.name, user.password_hash = address, shown, password_hash
    user.is_builtin = False
    record(session, actor, "user.create", "user", user.id, email=address, role=user.role)
    await bump_revision(session)
    return user


async def update_user(
    session: AsyncSession, user_id: int, changes: UserChanges, actor: Actor
) -> User:
    """Change what `changes` names; people change their own name and password, administrators all.

    Another role or password, and disabling, end all sessions of the user. Raises `Forbidden`,
    `LastAdministrator`, `NotFound`, `Unprocessable`.
    """
    user = await get_user(session, user_id, actor=actor)
    _refuse_builtin(user)
    if changes.keys() - _OWN_CHANGES:
        _require_administrator(actor)
    if "password_hash" in changes:
        _require_no_limits(actor)
    if "name" in changes:
        user.name = _checked_name(changes["name"])
    role = _checked_role(changes.get("role", user.role))
    is_active = changes.get("is_active", user.is_active)
    if role != ADMINISTRATOR or not is_active:
        await _keep_an_administrator(session, user)
    ends_sessions = "password_hash" in changes or role != user.role or not is_active
    user.role, user.is_active = role, is_active
    user.password_hash = changes.get("password_hash", user.password_hash)
    if ends_sessions:
        await end_all_sessions(session, user.id)
    record(session, actor, "user.update", "user", user.id, email=user.email, **_shown(changes))
    await bump_revision(session)
    return user


def require_reach(user: User, actor: Actor) -> None:
    """Raises `Conflict`, `Forbidden` unless `actor` may let `user` in: as by setting a password."""
    _refuse_builtin(user)
    _require_administrator(actor)
    _require_no_limits(actor)


async def end_sessions(session: AsyncSession, user_id: int, actor: Actor) -> User:
    """Sign a user out everywhere. Raises `Forbidden`, `NotFound`."""
    user = await get_user(session, user_id, actor=actor)
    if user.id != actor.user_id:
        _require_administrator(actor)
    await end_all_sessions(session, user.id)
    record(session, actor, "user.end_sessions", "user", user.id, email=user.email)
    return user


async def delete_user(
    session: AsyncSession, user_id: int, actor: Actor, *, heir_id: int | None = None
) -> None:
    """Remove a user with their tokens and sessions; the ledger keeps their name.

    What they wrote (prompts, presets, pipelines) goes to the user `heir_id`, with all its versions;
    without one it stays as it is, for administrators to see. Raises `Forbidden`,
    `LastAdministrator`, `NotFound`, `Unprocessable`.
    """
    user = await get_user(session, user_id, actor=actor)
    _refuse_builtin(user)
    _require_administrator(actor)
    await _keep_an_administrator(session, user)
    if heir_id is not None:
        await _hand_over(session, user, heir_id)
    user.is_active, user.password_hash, user.deleted_at = False, None, now()
    await session.execute(
        update(Token)
        .where(Token.user_id == user.id, Token.deleted_at.is_(None))
        .values(deleted_at=now())
    )
    await end_all_sessions(session, user.id)
    record(session, actor, "user.delete", "user", user.id, email=user.email, heir_id=heir_id)
    await bump_revision(session)


async def _hand_over(session: AsyncSession, user: User, heir_id: int) -> None:
    heir = await find_living(session, User, heir_id)
    if heir is None or heir.id == user.id or not heir.is_active:
        raise Unprocessable("heir_id should be another active user.", param="heir_id")
    for table in (Prompt, Preset, Pipeline):
        await session.execute(
            update(table)
            .where(table.user_id == user.id, table.deleted_at.is_(None))
            .values(user_id=heir.id)
        )


async def _keep_an_administrator(session: AsyncSession, user: User) -> None:
    """Refuse (`LastAdministrator`) to lose `user` as an administrator when there is no other."""
    await one_at_a_time(session)
    if user.role == ADMINISTRATOR and await count_administrators(session, without=user.id) == 0:
        raise LastAdministrator


def _require_administrator(actor: Actor) -> None:
    if not actor.is_administrator:
        raise Forbidden("Only an administrator does this.")


def _require_no_limits(actor: Actor) -> None:
    """With a password one signs in, and no session has a token's limits. An end is none here:
    tokens that do an administrator's work should have one."""
    if actor.bounds.limited() - {"expires_at"}:
        raise Forbidden("A token that has limits sets no password.", param="password")


def _refuse_builtin(user: User) -> None:
    if user.is_builtin:
        raise Conflict("The built-in owner changes only by becoming the first administrator.")


def _checked_name(name: str) -> str:
    return check_label(name, longest=150) if name.strip() else ""


def _checked_role(role: str) -> str:
    if role not in ROLES:
        raise Unprocessable(f"role should be one of {', '.join(ROLES)}.", param="role")
    return role


def _shown(changes: UserChanges) -> dict[str, object]:
    """What the audit may tell of `changes`."""
    return {
        ("password" if key == "password_hash" else key): (
            "changed" if key == "password_hash" else value
        )
        for key, value in changes.items()
    }
