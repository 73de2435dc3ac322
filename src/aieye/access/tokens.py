"""Public tokens, as their owners and administrators change them.

A token belongs to a user and never exceeds that user's role: a plain user's token may have the
scope `admin` and then reaches that user's own objects only. Who acts with a token makes and changes
tokens within its own limits, and only administrators take a limit away (`aieye.access.bounds`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.access.bounds import Bounds, limiting_namespace
from aieye.access.secrets import OPEN_CALLS_DIGEST, is_old_token, make_token, old_token_prefix
from aieye.access.snapshot import DEFAULT_NAMESPACE, SCOPES
from aieye.access.texts import check_label, check_models, check_moment
from aieye.db.engine import bump_revision
from aieye.db.rows import get_living, insert_unique, keyset
from aieye.db.tables import ProviderKey, Token, User
from aieye.db.types import now, to_micros
from aieye.errors import Conflict, Forbidden, NotFound, Unprocessable

# `aieye.access.directory.Directory.digest`: the stored form of a secret.
MakeDigest = Callable[[str], str]
# How long a secret may work on beside the new one: programs change over within days.
LONGEST_GRACE_SECONDS = 30 * 86_400


class TokenChanges(TypedDict, total=False):
    """What of a token may be changed; what is left out stays."""

    name: str
    scope: str
    expires_at: datetime | None
    disabled: bool
    cache_namespace: str
    cache_enabled: bool
    provider_key_id: int | None
    models: Sequence[str] | None


async def list_tokens(
    session: AsyncSession,
    *,
    actor: Actor,
    user_id: int | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[Token]:
    """The tokens that `actor` may see, in the order of their making; of one user if given."""
    statement = select(Token).where(Token.deleted_at.is_(None))
    if not actor.is_administrator:
        statement = statement.where(Token.user_id == actor.user_id)
    if user_id is not None:
        statement = statement.where(Token.user_id == user_id)
    return (await session.scalars(keyset(statement, Token.id, after=after, limit=limit))).all()


async def get_token(session: AsyncSession, token_id: int, *, actor: Actor) -> Token:
    """The token. Raises `NotFound`, also when it is another's."""
    token = await get_living(session, Token, token_id)
    if not actor.may_see(token.user_id):
        raise NotFound(f"There is no token {token_id}.")
    return token


async def create_token(
    session: AsyncSession,
    make_digest: MakeDigest,
    *,
    user_id: int,
    name: str,
    scope: str,
    actor: Actor,
    expires_at: datetime | None = None,
    cache_namespace: str = DEFAULT_NAMESPACE,
    cache_enabled: bool = True,
    provider_key_id: int | None = None,
    models: Sequence[str] | None = None,
    imported: str | None = None,
) -> tuple[Token, str]:
    """Make a token; the second value is its secret, which is stored nowhere.

    `imported` is an old 40-character token that is to go on working. Raises `Conflict` when it
    exists, `Forbidden`, `NotFound`, `Unprocessable`.
    """
    if not actor.may_see(user_id):
        raise NotFound(f"There is no user {user_id}.")
    owner = await get_living(session, User, user_id)
    secret, prefix = _new_secret(imported)
    token = Token(
        user_id=owner.id,
        prefix=prefix,
        digest=make_digest(secret),
        cache_namespace=DEFAULT_NAMESPACE,
        provider_key_id=None,
    )
    changes = TokenChanges(
        name=name,
        scope=scope,
        expires_at=expires_at,
        cache_namespace=cache_namespace,
        cache_enabled=cache_enabled,
        provider_key_id=provider_key_id,
        models=models,
    )
    await _apply(session, token, changes, actor)
    _check_reach(None, _bounds(token), actor)
    await insert_unique(session, token, clash="This token exists already.", param="import")
    record(
        session, actor, "token.create", "token", token.id,
        name=token.name, user_id=owner.id, scope=scope, imported=imported is not None,
    )  # fmt: skip
    await bump_revision(session)
    return token, secret


async def update_token(
    session: AsyncSession, token_id: int, changes: TokenChanges, *, actor: Actor
) -> Token:
    """Change what `changes` names. Raises `Forbidden`, `NotFound`, `Unprocessable`."""
    token = await get_token(session, token_id, actor=actor)
    before = _bounds(token)
    await _apply(session, token, changes, actor)
    _check_reach(before, _bounds(token), actor)
    details = {key: str(value) if key == "expires_at" else value for key, value in changes.items()}
    record(session, actor, "token.update", "token", token.id, **{"name": token.name, **details})
    await bump_revision(session)
    return token


async def roll_token(
    session: AsyncSession,
    make_digest: MakeDigest,
    token_id: int,
    *,
    actor: Actor,
    grace_seconds: int = 0,
) -> tuple[Token, str]:
    """Give a token a new secret (the second value); the old one works on for `grace_seconds`.

    One that was still working on from a roll before ends at once. Raises `Conflict` for the token
    that has no secret, `Forbidden`, `NotFound`, `Unprocessable`.
    """
    if not 0 <= grace_seconds <= LONGEST_GRACE_SECONDS:
        raise Unprocessable(
            f"grace_seconds should be 0 to {LONGEST_GRACE_SECONDS}.", param="grace_seconds"
        )
    token = await get_token(session, token_id, actor=actor)
    if token.digest == OPEN_CALLS_DIGEST:
        raise Conflict("This token has no secret: it stands for calls that come without one.")
    _check_reach(None, _bounds(token), actor)
    new = make_token()
    if grace_seconds:
        token.former_digest, token.former_prefix = token.digest, token.prefix
        token.former_until = now() + timedelta(seconds=grace_seconds)
    else:
        token.former_digest = token.former_prefix = token.former_until = None
    token.digest, token.prefix = make_digest(new.secret), new.prefix
    record(
        session, actor, "token.roll", "token", token.id,
        name=token.name, grace_seconds=grace_seconds,
    )  # fmt: skip
    await bump_revision(session)
    return token, new.secret


async def delete_token(session: AsyncSession, token_id: int, *, actor: Actor) -> None:
    """Remove a token for good. Raises `NotFound`."""
    token = await get_token(session, token_id, actor=actor)
    token.deleted_at = now()
    record(session, actor, "token.delete", "token", token.id, name=token.name)
    await bump_revision(session)


def _new_secret(imported: str | None) -> tuple[str, str]:
    """A secret, and what of it may be shown."""
    if imported is None:
        new = make_token()
        return new.secret, new.prefix
    if not is_old_token(imported):
        raise Unprocessable("An old token has 40 letters and digits.", param="import")
    return imported, old_token_prefix(imported)


async def _apply(session: AsyncSession, token: Token, changes: TokenChanges, actor: Actor) -> None:
    if "name" in changes:
        token.name = check_label(changes["name"], longest=100)
    if "scope" in changes:
        token.scope = _checked_scope(changes["scope"])
    if "expires_at" in changes:
        token.expires_at = _checked_expiry(changes["expires_at"])
    if "disabled" in changes:
        token.disabled_at = (token.disabled_at or now()) if changes["disabled"] else None
    if "cache_enabled" in changes:
        token.cache_enabled = changes["cache_enabled"]
    if "models" in changes:
        token.models = check_models(changes["models"])
    await _apply_restrictions(session, token, changes, actor)


async def _apply_restrictions(
    session: AsyncSession, token: Token, changes: TokenChanges, actor: Actor
) -> None:
    """What only an administrator sets; others at most set what their own token has."""
    namespace = changes.get("cache_namespace", token.cache_namespace)
    key_id = changes.get("provider_key_id", token.provider_key_id)
    if (namespace, key_id) == (token.cache_namespace, token.provider_key_id):
        return
    allowed = {
        (name, key)
        for name in (token.cache_namespace, actor.bounds.cache_namespace)
        for key in (token.provider_key_id, actor.bounds.provider_key_id)
    }
    if not actor.is_administrator and (namespace, key_id) not in allowed:
        raise Forbidden("Only an administrator sets a token's cache namespace or provider key.")
    if key_id is not None and key_id != token.provider_key_id:
        await get_living(session, ProviderKey, key_id)
    token.cache_namespace = check_label(namespace, longest=64, param="cache_namespace")
    token.provider_key_id = key_id


def _bounds(token: Token) -> Bounds:
    return Bounds(
        None if token.models is None else frozenset(token.models),
        limiting_namespace(token.cache_namespace),
        token.provider_key_id,
        None if token.expires_at is None else to_micros(token.expires_at),
    )


def _check_reach(before: Bounds | None, after: Bounds, actor: Actor) -> None:
    """Raises `Forbidden` for a token that `actor` may not hand out, or not change like this.

    `before` are its limits until now; None where the token is new in the actor's hands.
    """
    beyond = after.beyond(actor.bounds)
    if before is not None:
        beyond &= after.unlike(before)
    if beyond:
        raise Forbidden(
            "A token makes and changes tokens within its own limits only.", param=min(beyond)
        )
    if before is not None and not actor.is_administrator and (lifted := after.beyond(before)):
        raise Forbidden("Only an administrator takes a token's limit away.", param=min(lifted))


def _checked_scope(scope: str) -> str:
    if scope not in SCOPES:
        raise Unprocessable(f"scope should be one of {', '.join(SCOPES)}.", param="scope")
    return scope


def _checked_expiry(expires_at: datetime | None) -> datetime | None:
    if expires_at is None:
        return None
    moment = check_moment(expires_at, param="expires_at")
    if moment <= now():
        raise Unprocessable("expires_at should lie in the future.", param="expires_at")
    return moment
