"""Tokens: what programs hold, what each was used for, and the acts that end or renew one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from fastapi import APIRouter, Response
from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import tokens
from aieye.access.secrets import OPEN_CALLS_DIGEST
from aieye.access.token_lists import STATES, State, newest_tokens, state_of
from aieye.db.cursors import number_after
from aieye.db.rows import LARGEST_ID, find_living
from aieye.db.tables import Provider, ProviderKey, Token, User
from aieye.db.types import now
from aieye.errors import AieyeError
from aieye.ledger.queries.holders import last_used
from aieye.ledger.queries.period_sums import Amounts
from aieye.ui.forms import errors_of, no_errors
from aieye.ui.key_names import WITH_PROVIDER
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.ranges import Range
from aieye.ui.saving import changing, require_version, version_of
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.uses import find_uses

router = APIRouter(route_class=PageRoute, include_in_schema=False)

RANGE = "30d"
_LONGEST_TEXT = 100
# How long the old secret may work beside the new one, as the form offers it.
GRACES = (
    ("0", "ends at once"),
    ("3600", "works for another hour"),
    ("86400", "works for another day"),
    ("604800", "works for another week"),
    ("2592000", "works for another 30 days"),
)


@dataclass(frozen=True, slots=True)
class ShownToken:
    """A token as lists show it."""

    token: Token
    owner: str
    owner_id: int
    state: State
    is_owner_off: bool
    use: Amounts
    last_at: datetime | None
    # Until when the secret before the last roll works, if it does still.
    former_until: datetime | None
    key_name: str
    has_secret: bool

    @property
    def id(self) -> int:
        return self.token.id


@router.get("/tokens")
async def show_tokens(visitor: RequireUser, cursor: Cursor = None) -> Response:
    """One's own tokens, for administrators everybody's; the newest first."""
    here, period = visitor.here, visitor.range(RANGE)
    state = here.get("state") if here.get("state") in STATES else None
    text = here.get("q").strip()[:_LONGEST_TEXT]
    owner_id = _asked_owner(visitor)
    async with visitor.state.database.read() as session:
        found = await newest_tokens(
            session,
            actor=visitor.actor,
            user_id=owner_id,
            state=cast(State | None, state),
            text="".join(char for char in text if char.isprintable()),
            before=number_after(cursor),
            limit=PAGE + 1,
        )
        rows = await shown_tokens(session, visitor, found[:PAGE], period)
        owner = None if owner_id is None else await find_living(session, User, owner_id)
    return page(
        visitor.request,
        "tokens.html",
        period=period,
        rows=rows,
        next=next_cursor(found, key=lambda one: one[0].id),
        state=state,
        states=STATES,
        owner=owner.email if owner and visitor.is_administrator else None,
        is_filtered=bool(state or text or (owner and visitor.is_administrator)),
    )


@router.get("/tokens/{token_id}")
async def show_token(token_id: int, visitor: RequireUser) -> Response:
    """One token; another's is 404."""
    period = visitor.range(RANGE)
    async with visitor.state.database.read() as session:
        token = await tokens.get_token(session, token_id, actor=visitor.actor)
        owner = await session.get_one(User, token.user_id)
        (row,) = await shown_tokens(session, visitor, [(token, owner)], period)
    return page(
        visitor.request, "token.html", period=period, row=row, row_version=version_of(token)
    )


@router.post("/tokens/{token_id}/switch")
async def switch_token(token_id: int, visitor: RequireUser) -> Response:
    """Disable it, or enable it again: as the button said, whatever somebody did meanwhile."""
    is_off = (await visitor.fields()).get("to") == "off"
    async with changing(visitor.state) as session:
        token = await tokens.update_token(
            session, token_id, {"disabled": is_off}, actor=visitor.actor
        )
    said = "is disabled: calls with it are refused" if is_off else "is enabled"
    return go(visitor.request, f"/tokens/{token_id}", toast=f"“{token.name}” {said}.")


@router.get("/tokens/{token_id}/roll")
async def show_roll(token_id: int, visitor: RequireUser) -> Response:
    """How to change over to a new secret."""
    return await _roll_page(visitor, token_id)


@router.post("/tokens/{token_id}/roll")
async def roll(token_id: int, visitor: RequireUser) -> Response:
    """Give it a new secret, shown in this answer alone."""
    fields = await visitor.fields()
    grace = fields.get("grace_seconds", "0")
    try:
        async with changing(visitor.state) as session:
            token = await tokens.get_token(session, token_id, actor=visitor.actor)
            # A form sent twice must not end the secret that the first answer showed.
            require_version(token, fields)
            token, secret = await tokens.roll_token(
                session, visitor.state.directory.digest, token_id, actor=visitor.actor,
                grace_seconds=int(grace) if grace in dict(GRACES) else -1,
            )  # fmt: skip
    except AieyeError as error:
        if error.status == 404:
            raise
        return await _roll_page(visitor, token_id, error)
    return page(visitor.request, "token_secret.html", token=token, secret=secret, is_new=False)


@router.get("/tokens/{token_id}/delete")
async def show_delete(token_id: int, visitor: RequireUser) -> Response:
    """What is lost with it."""
    return await _delete_page(visitor, token_id)


@router.post("/tokens/{token_id}/delete")
async def delete(token_id: int, visitor: RequireUser) -> Response:
    """Revoke it for good, once its name was typed."""
    typed = (await visitor.fields()).text("confirm")
    async with changing(visitor.state) as session:
        token = await tokens.get_token(session, token_id, actor=visitor.actor)
        if is_typed := typed == token.name:
            await tokens.delete_token(session, token_id, actor=visitor.actor)
    if not is_typed:
        return await _delete_page(visitor, token_id, "Type the token's name as it stands above.")
    return go(visitor.request, "/tokens", toast=f"“{token.name}” is revoked.")


async def shown_tokens(
    session: AsyncSession, visitor: Visitor, found: Sequence[tuple[Token, User]], period: Range
) -> list[ShownToken]:
    """The tokens with their use in the period."""
    ids = [token.id for token, _ in found]
    uses = (await find_uses(session, visitor, period)).tops["token"]
    last = await last_used(session, "token", ids)
    shown = []
    for token, user in found:
        until = token.former_until
        shown.append(
            ShownToken(
                token,
                user.email,
                user.id,
                state_of(token),
                not user.is_active,
                uses[token.id],
                last.get(token.id),
                until if until is not None and until > now() else None,
                await _key_name(session, visitor, token.provider_key_id),
                token.digest != OPEN_CALLS_DIGEST,
            )
        )
    return shown


async def _key_name(session: AsyncSession, visitor: Visitor, key_id: int | None) -> str:
    """What the key is called that a token is pinned to; empty where it is pinned to none.

    How its secret ends is for administrators.
    """
    if key_id is None:
        return ""
    of_provider = Provider.name + literal(", one of its keys")
    statement = (
        select(WITH_PROVIDER if visitor.is_administrator else of_provider)
        .join_from(ProviderKey, Provider, Provider.id == ProviderKey.provider_id)
        .where(ProviderKey.id == key_id, ProviderKey.deleted_at.is_(None))
    )
    return await session.scalar(statement) or "a deleted key: it reaches nothing"


def _asked_owner(visitor: Visitor) -> int | None:
    """Whose tokens the URL asks for; what is no id asks for nothing."""
    given = visitor.here.get("user")
    is_id = given.isascii() and given.isdigit() and len(given) < 11
    return int(given) if is_id and 0 < int(given) <= LARGEST_ID else None


async def _roll_page(visitor: Visitor, token_id: int, error: AieyeError | None = None) -> Response:
    async with visitor.state.database.read() as session:
        token = await tokens.get_token(session, token_id, actor=visitor.actor)
    errors = errors_of(error, "grace_seconds") if error else no_errors("grace_seconds")
    return page(
        visitor.request, "token_roll.html", status=error.status if error else 200,
        token=token, row_version=version_of(token), graces=GRACES, errors=errors,
    )  # fmt: skip


async def _delete_page(visitor: Visitor, token_id: int, error: str = "") -> Response:
    period = visitor.range(RANGE)
    async with visitor.state.database.read() as session:
        token = await tokens.get_token(session, token_id, actor=visitor.actor)
        owner = await session.get_one(User, token.user_id)
        (row,) = await shown_tokens(session, visitor, [(token, owner)], period)
    return page(
        visitor.request, "token_delete.html", status=422 if error else 200, row=row, error=error
    )
