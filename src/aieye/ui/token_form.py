"""The form of a token: made in one step, its secret shown once; changed without losing what others did."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import tokens
from aieye.access.snapshot import DEFAULT_NAMESPACE
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import Provider, ProviderKey, Token, User
from aieye.errors import AieyeError, Unprocessable
from aieye.ui.fields import Fields
from aieye.ui.forms import errors_of, no_errors
from aieye.ui.key_names import WITH_PROVIDER
from aieye.ui.model_choices import called_models
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_first,
    require_version,
    version_of,
)
from aieye.ui.session import RequireUser, Visitor
from aieye.ui.show import in_zone

router = APIRouter(route_class=PageRoute, include_in_schema=False)

FIELDS = ("name", "user_id", "scope", "models", "expires_at", "cache_enabled", "cache_namespace",
          "provider_key_id")  # fmt: skip
SCOPES = (
    ("proxy", "proxy: call models and pipelines"),
    ("runs", "runs: the same, and nothing more so far"),
    ("admin", "admin: the same, and the administrators' API"),
)
# As a plain user is offered them: with theirs `/api/v1` knows what they see themselves.
_OWN_SCOPES = (
    *SCOPES[:-1],
    ("admin", "admin: the same, and /api/v1 for your own and shared things"),
)
_MOST_CHOICES = 500
_MOMENT = "%Y-%m-%dT%H:%M"
# Only an administrator sets these.
_RESTRICTIONS = ("cache_namespace", "provider_key_id")


@router.get("/tokens/new")
async def show_new(visitor: RequireUser) -> Response:
    """An empty form; `?user=` and `?key=` fill in whose it is and what it is pinned to."""
    here = visitor.here
    typed = {
        "scope": "proxy",
        "cache_enabled": "on",
        "cache_namespace": DEFAULT_NAMESPACE,
        "user_id": here.get("user") or str(visitor.user_id),
        "provider_key_id": here.get("key"),
    }
    return await _form(visitor, None, typed)


@router.post("/tokens/new")
async def create(visitor: RequireUser) -> Response:
    """Make it; this answer alone holds the secret."""
    fields = await visitor.fields()
    try:
        changes = read_changes(fields, visitor)
        owner_id = _number(fields, "user_id") if visitor.is_administrator else None
        async with changing(visitor.state) as session:
            await require_first(session, visitor.user_id, fields, "token")
            token, secret = await tokens.create_token(
                session,
                visitor.state.directory.digest,
                user_id=owner_id or visitor.user_id,
                actor=visitor.actor,
                **changes,
            )
    except AieyeError as error:
        return await _form(visitor, None, fields, error)
    return page(
        visitor.request, "token_secret.html", token=token, secret=secret, is_new=True
    )  # fmt: skip


@router.get("/tokens/{token_id}/edit")
async def show_edit(token_id: int, visitor: RequireUser) -> Response:
    """The form as it is stored."""
    async with visitor.state.database.read() as session:
        token = await tokens.get_token(session, token_id, actor=visitor.actor)
    return await _form(visitor, token, stored_values(token, visitor.zone))


@router.post("/tokens/{token_id}/edit")
async def save(token_id: int, visitor: RequireUser) -> Response:
    """Change what differs; a token that somebody changed meanwhile comes with both values."""
    fields = await visitor.fields()
    async with visitor.state.database.read() as session:
        token = await tokens.get_token(session, token_id, actor=visitor.actor)
    try:
        changes = read_changes(fields, visitor)
        async with changing(visitor.state) as session:
            token = await tokens.get_token(session, token_id, actor=visitor.actor)
            require_version(token, fields)
            before = stored_values(token, visitor.zone)
            # What was not touched stays to the second.
            kept = {name for name in changes if fields.get(name, "").strip() == before.get(name)}
            changed: Any = {name: value for name, value in changes.items() if name not in kept}
            if changed:
                await tokens.update_token(session, token_id, changed, actor=visitor.actor)
    except AieyeError as error:
        if error.status == 404 and error.param is None:
            raise
        return await _form(visitor, token, fields, error)
    return go(visitor.request, f"/tokens/{token_id}", toast=f"“{token.name}” was saved.")


def read_changes(fields: Fields, visitor: Visitor) -> dict[str, Any]:
    """What the form says, as the service takes it. Raises `Unprocessable`."""
    models = [line.strip() for line in fields.get("models", "").splitlines() if line.strip()]
    changes: dict[str, Any] = {
        "name": fields.text("name"),
        "scope": fields.text("scope"),
        "models": models or None,
        "expires_at": _moment(fields.text("expires_at"), visitor.zone),
        "cache_enabled": fields.is_on("cache_enabled"),
    }
    if visitor.is_administrator:
        changes["cache_namespace"] = fields.text("cache_namespace") or DEFAULT_NAMESPACE
        changes["provider_key_id"] = _number(fields, "provider_key_id")
    return changes


def stored_values(token: Token, zone: tzinfo) -> dict[str, str]:
    """The token as its form shows it."""
    expires_at = token.expires_at
    return {
        "name": token.name,
        "scope": token.scope,
        "models": "\n".join(token.models or ()),
        "expires_at": "" if expires_at is None else in_zone(expires_at, zone).strftime(_MOMENT),
        "cache_enabled": "on" if token.cache_enabled else "",
        "cache_namespace": token.cache_namespace,
        "provider_key_id": "" if token.provider_key_id is None else str(token.provider_key_id),
    }


def _moment(text: str, zone: tzinfo) -> datetime | None:
    """A moment as a form sends it, in the browser's zone; None for an empty one."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise Unprocessable(
            "The end should be a time such as 2027-11-20T12:00, or empty.", param="expires_at"
        ) from error


def _number(fields: Fields, name: str) -> int | None:
    text = fields.text(name)
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 11 and int(text) <= LARGEST_ID):
        raise Unprocessable("Choose one of the list.", param=name)
    return int(text)


async def _form(
    visitor: Visitor,
    token: Token | None,
    typed: Mapping[str, str],
    error: AieyeError | None = None,
) -> Response:
    errors: Mapping[str, str] = errors_of(error, *FIELDS) if error else no_errors(*FIELDS)
    async with visitor.state.database.read() as session:
        if isinstance(error, ChangedMeanwhile) and token is not None:
            token = await tokens.get_token(session, token.id, actor=visitor.actor)
            shown = stored_values(token, visitor.zone)
            if not visitor.is_administrator:
                shown = {key: value for key, value in shown.items() if key not in _RESTRICTIONS}
            errors = {**errors, **differences(shown, typed)}
        choices = await _choices(session, visitor)
    return page(
        visitor.request,
        "token_form.html",
        status=error.status if error else 200,
        token=token,
        typed=dict.fromkeys(FIELDS, "") | dict(typed),
        row_version=version_of(token) if token else "",
        errors=errors,
        scopes=SCOPES if visitor.is_administrator else _OWN_SCOPES,
        zone_name=f"{visitor.now.astimezone(visitor.zone):%Z}",
        **choices,
    )


async def _choices(session: AsyncSession, visitor: Visitor) -> dict[str, Any]:
    """What an administrator chooses from, and the models that are known by their use."""
    known = await called_models(session, visitor)
    if not visitor.is_administrator:
        return {"users": (), "keys": (), "models": known}
    users = await session.execute(
        select(User.id, User.email)
        .where(User.deleted_at.is_(None))
        .order_by(User.email)
        .limit(_MOST_CHOICES)
    )
    keys = await session.execute(
        select(ProviderKey.id, WITH_PROVIDER)
        .join(Provider, Provider.id == ProviderKey.provider_id)
        .where(ProviderKey.deleted_at.is_(None))
        .order_by(Provider.name, ProviderKey.id)
        .limit(_MOST_CHOICES)
    )
    return {
        "users": [(str(row_id), email) for row_id, email in users],
        "keys": [("", "any key of the provider"), *((str(one), name) for one, name in keys)],
        "models": known,
    }
