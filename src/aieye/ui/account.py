"""One's own account: where one is signed in, one's password and name, and the pages' theme."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Response

from aieye.access import users
from aieye.access.attempts import TooManyAttempts
from aieye.access.own_password import check_present_password
from aieye.access.passwords import check_password, hash_password
from aieye.access.sessions import (
    end_all_sessions,
    end_named_session,
    list_sessions,
    start_session,
)
from aieye.errors import AieyeError, NotFound
from aieye.state import change
from aieye.ui.auth import forget_cookies, keep_theme, with_cookies
from aieye.ui.forms import safe_next
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

_BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari", "curl", "python")
_NAMES = {"Edg": "Edge", "OPR": "Opera", "python": "Python"}
_SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux")


@dataclass(frozen=True, slots=True)
class ShownSession:
    """A session as its owner sees it."""

    digest: str
    browser: str
    user_agent: str
    ip: str
    created_at: datetime
    last_seen_at: datetime
    is_this: bool


@router.get("/account")
async def show_account(visitor: RequireUser) -> Response:
    """Sessions, password, name."""
    return await _account(visitor)


@router.post("/account/sessions/end-all")
async def end_all(visitor: RequireUser) -> Response:
    """Sign out everywhere, here too."""
    async with change(visitor.state) as session:
        await end_all_sessions(session, visitor.user_id)
    return forget_cookies(visitor.request, go(visitor.request, "/login"))


@router.post("/account/sessions/{digest}/end")
async def end_one(digest: str, visitor: RequireUser) -> Response:
    """End one of one's own sessions; the present one is a sign-out."""
    async with change(visitor.state) as session:
        is_found = await end_named_session(session, digest, user_id=visitor.user_id)
    if not is_found:
        raise NotFound("This session is not there: it may have ended already.")
    if digest == visitor.signed_in.digest:
        return forget_cookies(visitor.request, go(visitor.request, "/login"))
    return go(visitor.request, "/account", toast="The session has ended.")


@router.post("/account/password")
async def change_password(visitor: RequireUser) -> Response:
    """Set another password of one's own; all other sessions end, and this one is a new one."""
    fields = await visitor.fields()
    try:
        password = check_password(fields.get("password", ""), email=visitor.signed_in.email)
        given = fields.get("current_password", "")
        await check_present_password(visitor.state.database, given, visitor.actor)
    except TooManyAttempts:
        raise
    except AieyeError as error:
        return await _account(visitor, block="password_form", error=error)
    password_hash = await hash_password(password)
    agent = visitor.request.headers.get("user-agent", "")
    async with change(visitor.state) as session:
        await users.update_user(
            session, visitor.user_id, {"password_hash": password_hash}, visitor.actor
        )
        begun = await start_session(session, visitor.user_id, ip=visitor.actor.ip, user_agent=agent)
    done = go(
        visitor.request, "/account", toast="The password was changed. All other sessions ended."
    )
    return with_cookies(visitor.request, done, begun)


@router.post("/account/name")
async def change_name(visitor: RequireUser) -> Response:
    """Be called something else on the pages."""
    name = (await visitor.fields()).text("name")
    try:
        async with change(visitor.state) as session:
            await users.update_user(session, visitor.user_id, {"name": name}, visitor.actor)
    except AieyeError as error:
        return await _account(visitor, block="name_form", error=error, name=name)
    return go(visitor.request, "/account", toast="The name was saved.")


@router.post("/theme")
async def set_theme(visitor: RequireUser) -> Response:
    """Light, dark, or as the system has it: the way for browsers without scripts."""
    fields = await visitor.fields()
    return keep_theme(
        visitor.request, go(visitor.request, safe_next(fields.get("next"))), fields.get("theme", "")
    )


async def _account(
    visitor: Visitor,
    *,
    block: Literal["password_form", "name_form"] | None = None,
    error: AieyeError | None = None,
    name: str | None = None,
) -> Response:
    async with visitor.state.database.read() as session:
        rows = await list_sessions(session, visitor.user_id)
    shown = [
        ShownSession(
            row.digest, browser(row.user_agent), row.user_agent, row.ip, row.created_at,
            row.last_seen_at, row.digest == visitor.signed_in.digest,
        )
        for row in rows
    ]  # fmt: skip
    errors: Mapping[str, str] = {"current_password": "", "password": "", "name": ""}
    if error is not None:
        fallback = "name" if block == "name_form" else "password"
        param = error.param if error.param in errors else fallback
        errors = {**errors, param or fallback: error.message}
    return page(
        visitor.request,
        "account.html",
        status=error.status if error else 200,
        sessions=shown,
        errors=errors,
        name=visitor.signed_in.name if name is None else name,
    )


def browser(user_agent: str) -> str:
    """What people call the program that sends this header: `Firefox on Linux`."""
    name = next((one for one in _BROWSERS if one.lower() in user_agent.lower()), None)
    system = next((one for one in _SYSTEMS if one in user_agent), None)
    if name is None:
        return user_agent[:40] or "unknown"
    shown = _NAMES.get(name, name)
    return f"{shown} on {system.replace(' OS X', 'OS') if system else 'an unknown system'}"
