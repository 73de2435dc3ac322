"""`/api/v1/users`: administrators manage people; everybody their own name and password (`me`)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Query
from pydantic import ConfigDict, Field, SecretStr

from aieye.access import invitations, users
from aieye.access.audit import Actor
from aieye.access.own_password import check_present_password
from aieye.access.passwords import check_password, hash_password
from aieye.api.deps import (
    Changing,
    CurrentActor,
    CurrentAdministrator,
    CurrentState,
    Reading,
    own_id,
)
from aieye.api.paging import CurrentPaging, Page
from aieye.api.resources import resource_router
from aieye.api.schemas import (
    Deleted,
    Id,
    PathId,
    View,
    WriteModel,
    answers,
    omittable,
    page_example,
)
from aieye.db.tables import User
from aieye.state import State, change

router = resource_router("users")

Role = Literal["administrator", "user"]
Name = Annotated[str, Field(max_length=150)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=1_000)]

EXAMPLE = {
    "id": 1,
    "email": "ada@example.org",
    "name": "Ada",
    "role": "user",
    "is_active": True,
    "is_builtin": False,
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}

INVITATION_EXAMPLE = {
    "id": 1,
    "url": "https://ai-eye.example.org/invitation?token=…",
    "expires_at": "2026-11-23T12:00:00Z",
}


class UserCreate(WriteModel):
    """A new user. Without a password they cannot sign in, but may have tokens."""

    email: Annotated[str, Field(min_length=3, max_length=254)]
    name: Name = ""
    role: Role = "user"
    password: Password | None = Field(default=None, description="Stored as a hash, never shown.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"email": "ada@example.org", "name": "Ada", "password": "…"}]
        }
    )


class UserUpdate(WriteModel):
    """What of a user is to change. Another role or password ends their sessions."""

    name: Name = omittable()
    role: Role = omittable()
    is_active: bool = omittable()
    password: Password = omittable()

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_active": False}]})


class OwnUpdate(WriteModel):
    """What people change of themselves. Another password ends all their sessions."""

    name: Name = omittable()
    password: Password = omittable()
    current_password: Password = omittable(description="Needed to set another password.")

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Ada L."}]})


class UserView(View):
    """A user; nothing of the password."""

    id: int
    email: str
    name: str
    role: Role
    is_active: bool
    is_builtin: bool
    created_at: datetime
    updated_at: datetime


class Invitation(View):
    """A link that is shown this once."""

    id: int
    url: str
    expires_at: datetime


class UserPage(Page[UserView]):
    """A part of the list of users."""


@router.get(
    "", operation_id="users_list", summary="List users",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_users(
    caller: CurrentAdministrator, session: Reading, page: CurrentPaging
) -> UserPage:
    """The users, the oldest first."""
    rows = await users.list_users(session, actor=caller, after=page.after_id(), limit=page.fetch)
    return UserPage.of(rows, page)


@router.post(
    "", operation_id="users_create", summary="Add a user", status_code=201,
    responses=answers(EXAMPLE, 409, status=201),
)  # fmt: skip
async def create_user(
    body: UserCreate, caller: CurrentAdministrator, state: CurrentState
) -> UserView:
    """The e-mail address is unique among users."""
    hashed = await _hash(body.password, body.email) if body.password else None
    async with change(state) as session:
        user = await users.create_user(
            session,
            email=body.email,
            name=body.name,
            role=body.role,
            password_hash=hashed,
            actor=caller,
        )
    return UserView.model_validate(user)


@router.get("/me", operation_id="users_get_me", summary="Get yourself", responses=answers(EXAMPLE))
async def get_me(caller: CurrentActor, session: Reading) -> UserView:
    """The user who calls."""
    return UserView.model_validate(await users.get_user(session, own_id(caller), actor=caller))


@router.patch(
    "/me", operation_id="users_update_me", summary="Change yourself", responses=answers(EXAMPLE)
)
async def update_me(body: OwnUpdate, caller: CurrentActor, state: CurrentState) -> UserView:
    """A new password needs the present one, if there is one (422 `wrong_password`)."""
    if "password" in body.model_fields_set:
        given = body.current_password if "current_password" in body.model_fields_set else None
        text = "" if given is None else given.get_secret_value()
        await check_present_password(state.database, text, caller)
    return await _update(state, own_id(caller), body, caller)


@router.get(
    "/{id}", operation_id="users_get", summary="Get a user", responses=answers(EXAMPLE, 404)
)
async def get_user(user_id: PathId, caller: CurrentAdministrator, session: Reading) -> UserView:
    """One user."""
    return UserView.model_validate(await users.get_user(session, user_id, actor=caller))


@router.patch(
    "/{id}", operation_id="users_update", summary="Change a user",
    responses=answers(EXAMPLE, 404, 409),
)  # fmt: skip
async def update_user(
    user_id: PathId, body: UserUpdate, caller: CurrentAdministrator, state: CurrentState
) -> UserView:
    """What is left out stays as it is. The last administrator stays one (409)."""
    return await _update(state, user_id, body, caller)


@router.delete(
    "/{id}", operation_id="users_delete", summary="Delete a user",
    responses=answers({"id": 1, "deleted": True}, 404, 409),
)  # fmt: skip
async def delete_user(
    user_id: PathId,
    caller: CurrentAdministrator,
    session: Changing,
    heir_id: Annotated[
        Id | None, Query(description="Who gets their prompts, presets and pipelines.")
    ] = None,
) -> Deleted:
    """Their tokens and sessions end at once; their calls stay in the ledger, and what they wrote
    stays without an owner unless there is an heir."""
    await users.delete_user(session, user_id, caller, heir_id=heir_id)
    return Deleted(id=user_id)


@router.post(
    "/{id}/invite", operation_id="users_invite", summary="Invite a user",
    responses=answers(INVITATION_EXAMPLE, 403, 404, 409),
)  # fmt: skip
async def invite_user(
    user_id: PathId, caller: CurrentAdministrator, state: CurrentState, session: Changing
) -> Invitation:
    """A link with which they set their password, once; one that was made before ends now."""
    secret, ends_at = await invitations.invite(
        session, state.directory.digest, user_id, actor=caller
    )
    url = f"{state.settings.base_url}/invitation?token={secret}"
    return Invitation.model_validate({"id": user_id, "url": url, "expires_at": ends_at})


@router.post(
    "/{id}/end-sessions", operation_id="users_end_sessions", summary="Sign a user out everywhere",
    responses=answers(EXAMPLE, 404),
)  # fmt: skip
async def end_sessions(
    user_id: PathId, caller: CurrentAdministrator, session: Changing
) -> UserView:
    """Their tokens go on working."""
    return UserView.model_validate(await users.end_sessions(session, user_id, caller))


async def _update(
    state: State, user_id: int, body: UserUpdate | OwnUpdate, caller: Actor
) -> UserView:
    values = body.model_dump(exclude_unset=True, exclude={"password", "current_password"})
    changes = users.UserChanges(**values)  # type: ignore[typeddict-item] # the models have the same fields
    if "password" in body.model_fields_set:
        # Hashing takes long, so it comes before the transaction that others wait for.
        user = await _read(state, user_id, caller)
        changes["password_hash"] = await _hash(body.password, user.email)
    async with change(state) as session:
        return UserView.model_validate(await users.update_user(session, user_id, changes, caller))


async def _read(state: State, user_id: int, caller: Actor) -> User:
    async with state.database.read() as session:
        return await users.get_user(session, user_id, actor=caller)


async def _hash(password: SecretStr, email: str) -> str:
    return await hash_password(check_password(password.get_secret_value(), email=email))
