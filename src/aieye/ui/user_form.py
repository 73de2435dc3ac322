"""The form of a user: added with a link or a password shown once; changed without a lock-out."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Response

from aieye.access import users
from aieye.access.invitations import invite
from aieye.access.passwords import hash_password, make_password
from aieye.db.tables import User
from aieye.errors import AieyeError, Conflict
from aieye.ui.forms import errors_of, no_errors
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_first,
    require_version,
    version_of,
)
from aieye.ui.session import RequireAdministrator, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

FIELDS = ("email", "name", "role", "entry", "is_active")
EDIT_FIELDS = ("name", "role", "is_active")
ROLES = (
    ("user", "user: sees and makes their own"),
    ("administrator", "administrator: sees and does everything"),
)
ENTRIES = (
    ("link", "a link with which they set their password"),
    ("password", "a password, made here and shown once"),
    ("none", "not at all: only their programs call, with tokens"),
)


@router.get("/users/new")
async def show_new(visitor: RequireAdministrator) -> Response:
    """An empty form."""
    return _new(visitor, {"role": "user", "entry": "link"})


@router.post("/users/new")
async def create(visitor: RequireAdministrator) -> Response:
    """Add them; this answer alone holds the link or the password."""
    fields, state = await visitor.fields(), visitor.state
    entry = fields.get("entry", "link")
    password = make_password() if entry == "password" else ""
    # Hashing takes long, so it comes before the transaction that others wait for.
    hashed = await hash_password(password) if password else None
    link, ends_at = "", None
    try:
        async with changing(state) as session:
            await require_first(session, visitor.user_id, fields, "user")
            user = await users.create_user(
                session,
                email=fields.text("email"),
                name=fields.text("name"),
                role=fields.text("role"),
                password_hash=hashed,
                actor=visitor.actor,
            )
            if entry == "link":
                secret, ends_at = await invite(
                    session, state.directory.digest, user.id, actor=visitor.actor
                )
                link = f"{state.settings.base_url}/invitation?token={secret}"
    except AieyeError as error:
        return _new(visitor, fields, error)
    if not link and not password:
        return go(visitor.request, f"/users/{user.id}", toast=f"{user.email} was added.")
    return page(
        visitor.request, "user_secret.html", user=user, link=link, ends_at=ends_at,
        password=password, is_new=True,
    )  # fmt: skip


@router.get("/users/{user_id}/edit")
async def show_edit(user_id: int, visitor: RequireAdministrator) -> Response:
    """The form as it is stored."""
    return await _edit(visitor, user_id)


@router.post("/users/{user_id}/edit")
async def save(user_id: int, visitor: RequireAdministrator) -> Response:
    """Change name, role, and whether they may sign in and their tokens call."""
    fields = await visitor.fields()
    try:
        async with changing(visitor.state) as session:
            user = await users.get_user(session, user_id, actor=visitor.actor)
            require_version(user, fields)
            changes = users.UserChanges(name=fields.text("name"))
            if fields.text("role") != user.role:
                changes["role"] = fields.text("role")
            if (is_active := fields.is_on("is_active")) != user.is_active:
                changes["is_active"] = is_active
            if user_id == visitor.user_id and len(changes) > 1:
                raise Conflict(
                    "You would lock yourself out: another administrator can change your role or "
                    "disable you."
                )
            await users.update_user(session, user_id, changes, visitor.actor)
    except AieyeError as error:
        if error.status == 404:
            raise
        return await _edit(visitor, user_id, fields, error)
    return go(visitor.request, f"/users/{user_id}", toast=f"{user.email} was saved.")


def _new(visitor: Visitor, typed: Mapping[str, str], error: AieyeError | None = None) -> Response:
    return page(
        visitor.request, "user_new.html", status=error.status if error else 200,
        typed=dict.fromkeys(FIELDS, "") | dict(typed), roles=ROLES, entries=ENTRIES,
        errors=errors_of(error, *FIELDS) if error else no_errors(*FIELDS),
    )  # fmt: skip


def _stored(user: User) -> dict[str, str]:
    return {"name": user.name, "role": user.role, "is_active": "on" if user.is_active else ""}


async def _edit(
    visitor: Visitor,
    user_id: int,
    typed: Mapping[str, str] | None = None,
    error: AieyeError | None = None,
) -> Response:
    async with visitor.state.database.read() as session:
        user = await users.get_user(session, user_id, actor=visitor.actor)
    stored = _stored(user)
    errors: Mapping[str, str] = errors_of(error, *EDIT_FIELDS) if error else no_errors(*EDIT_FIELDS)
    shown = stored if typed is None else {name: typed.get(name, "") for name in stored}
    if isinstance(error, ChangedMeanwhile) and typed is not None:
        errors = {**errors, **differences(stored, typed)}
    return page(
        visitor.request, "user_edit.html", status=error.status if error else 200, user=user,
        typed=shown, errors=errors, row_version=version_of(user), roles=ROLES,
        is_you=user_id == visitor.user_id,
    )  # fmt: skip
