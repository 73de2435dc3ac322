"""Users: who may sign in, what each holds and spent, and the acts that let in, sign out and remove."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import users
from aieye.access.invitations import invite
from aieye.access.token_lists import newest_tokens, state_of
from aieye.access.user_lists import Holdings, holdings_of
from aieye.db.cursors import number_after
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import User
from aieye.errors import AieyeError, Conflict, Unprocessable
from aieye.ledger.queries.holders import last_used
from aieye.ledger.queries.period_sums import Amounts
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.ranges import Range
from aieye.ui.saving import changing
from aieye.ui.session import RequireAdministrator, Visitor
from aieye.ui.uses import find_uses

router = APIRouter(route_class=PageRoute, include_in_schema=False)

RANGE = "30d"
_MOST_TOKENS = 8
_MOST_HEIRS = 500


@dataclass(frozen=True, slots=True)
class ShownUser:
    """A user as lists show them."""

    user: User
    holdings: Holdings
    use: Amounts
    last_at: datetime | None

    @property
    def id(self) -> int:
        return self.user.id


@router.get("/users")
async def show_users(visitor: RequireAdministrator, cursor: Cursor = None) -> Response:
    """All users, the oldest first."""
    period = visitor.range(RANGE)
    async with visitor.state.database.read() as session:
        found = await users.list_users(
            session, actor=visitor.actor, after=number_after(cursor), limit=PAGE + 1
        )
        rows = await _shown(session, visitor, found[:PAGE], period)
    return page(visitor.request, "users.html", period=period, rows=rows, next=next_cursor(found))


@router.get("/users/{user_id}")
async def show_user(user_id: int, visitor: RequireAdministrator) -> Response:
    """One user with their newest tokens."""
    period = visitor.range(RANGE)
    async with visitor.state.database.read() as session:
        user = await users.get_user(session, user_id, actor=visitor.actor)
        (row,) = await _shown(session, visitor, [user], period)
        tokens = await newest_tokens(
            session, actor=visitor.actor, user_id=user_id, limit=_MOST_TOKENS
        )
    return page(
        visitor.request, "user.html", period=period, row=row, is_you=user_id == visitor.user_id,
        tokens=[(token, state_of(token)) for token, _ in tokens],
    )  # fmt: skip


@router.post("/users/{user_id}/invite")
async def send_link(user_id: int, visitor: RequireAdministrator) -> Response:
    """A link with which they set their password, shown in this answer alone."""
    state = visitor.state
    async with changing(state) as session:
        secret, ends_at = await invite(
            session, state.directory.digest, user_id, actor=visitor.actor
        )
        user = await users.get_user(session, user_id, actor=visitor.actor)
    link = f"{state.settings.base_url}/invitation?token={secret}"
    return page(
        visitor.request, "user_secret.html", user=user, link=link, ends_at=ends_at, password="",
        is_new=False,
    )  # fmt: skip


@router.post("/users/{user_id}/end-sessions")
async def end_sessions(user_id: int, visitor: RequireAdministrator) -> Response:
    """Sign them out everywhere."""
    async with changing(visitor.state) as session:
        user = await users.end_sessions(session, user_id, visitor.actor)
    return go(visitor.request, f"/users/{user_id}", toast=f"{user.email} is signed out everywhere.")


@router.get("/users/{user_id}/delete")
async def show_delete(user_id: int, visitor: RequireAdministrator) -> Response:
    """What is lost, and who gets what they wrote."""
    return await _delete_page(visitor, user_id)


@router.post("/users/{user_id}/delete")
async def delete(user_id: int, visitor: RequireAdministrator) -> Response:
    """Remove them, once their e-mail address was typed."""
    fields = await visitor.fields()
    async with visitor.state.database.read() as session:
        user = await users.get_user(session, user_id, actor=visitor.actor)
    try:
        if fields.text("confirm") != user.email:
            raise Unprocessable("Type the e-mail address as it stands above.", param="confirm")
        if user_id == visitor.user_id:
            raise Conflict("You would lock yourself out: another administrator can do this.")
        async with changing(visitor.state) as session:
            await users.delete_user(
                session, user_id, visitor.actor, heir_id=_heir(fields.text("heir_id"))
            )
    except AieyeError as error:
        return await _delete_page(visitor, user_id, error)
    return go(visitor.request, "/users", toast=f"{user.email} is deleted.")


def _heir(text: str) -> int | None:
    """Who gets what they wrote; None where it stays without an owner."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= LARGEST_ID):
        raise Unprocessable("Choose one of the list.", param="heir_id")
    return int(text)


async def _shown(
    session: AsyncSession, visitor: Visitor, found: Sequence[User], period: Range
) -> list[ShownUser]:
    ids = [user.id for user in found]
    holdings = await holdings_of(session, ids)
    uses = (await find_uses(session, visitor, period)).tops["user"]
    last = await last_used(session, "user", ids)
    return [ShownUser(user, holdings[user.id], uses[user.id], last.get(user.id)) for user in found]


async def _delete_page(visitor: Visitor, user_id: int, error: AieyeError | None = None) -> Response:
    async with visitor.state.database.read() as session:
        user = await users.get_user(session, user_id, actor=visitor.actor)
        (row,) = await _shown(session, visitor, [user], visitor.range(RANGE))
        others = await users.list_users(session, actor=visitor.actor, limit=_MOST_HEIRS)
    heirs = [
        (one.id, "you" if one.id == visitor.user_id else one.email)
        for one in sorted(others, key=lambda one: one.id != visitor.user_id)
        if one.is_active and not one.is_builtin and one.id != user_id
    ]
    return page(
        visitor.request, "user_delete.html", status=error.status if error else 200, row=row,
        heirs=heirs, error=error.message if error else "",
    )  # fmt: skip
