"""Who pays for a run from a page: oneself, a token of one's own, or, for administrators, a provider's key."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import tokens
from aieye.access.grants import grant_of_user
from aieye.access.snapshot import Grant
from aieye.access.token_lists import newest_tokens
from aieye.db.tables import Provider, ProviderKey
from aieye.db.types import now, to_micros
from aieye.errors import NotFound, Unprocessable
from aieye.ui.session import Visitor

_MOST = 200
DEFAULT = ("me", "you, with any key of the provider")


async def payers_of(session: AsyncSession, visitor: Visitor) -> Sequence[tuple[str, str]]:
    """What can be chosen, each with its words."""
    found = await newest_tokens(
        session, actor=visitor.actor, user_id=visitor.user_id, state="active", limit=_MOST
    )
    chosen = [DEFAULT]
    if visitor.is_administrator:
        keys = await session.execute(
            select(ProviderKey.id, Provider.name + " · " + ProviderKey.name)
            .join(Provider, Provider.id == ProviderKey.provider_id)
            .where(ProviderKey.deleted_at.is_(None), ProviderKey.is_active)
            .order_by(Provider.name, ProviderKey.id)
            .limit(_MOST)
        )
        chosen += [(f"key:{id_}", f"you, with the key {name}") for id_, name in keys]
    return chosen + [(f"token:{token.id}", f"the token {token.name}") for token, _ in found]


async def grant_of(visitor: Visitor, chosen: str) -> Grant:
    """What a run may do that is paid so. Raises `Unprocessable` for what cannot be chosen."""
    kind, _, number = chosen.partition(":")
    id_ = int(number) if number.isascii() and number.isdigit() and len(number) < 11 else 0
    current = visitor.state.directory.current
    if kind == "key" and visitor.is_administrator and id_ in current.keys:
        return _own(visitor, id_)
    if kind == "token":
        return await _token_grant(visitor, id_)
    if chosen not in {"", DEFAULT[0]}:
        raise Unprocessable("Choose one of the list.", param="payer")
    return _own(visitor, None)


def _own(visitor: Visitor, key_id: int | None) -> Grant:
    return grant_of_user(visitor.user_id, visitor.actor.label, visitor.actor.role, key_id=key_id)


async def _token_grant(visitor: Visitor, token_id: int) -> Grant:
    grant = None
    try:
        async with visitor.state.database.read() as session:
            token = await tokens.get_token(session, token_id, actor=visitor.actor)
        if token.user_id == visitor.user_id:
            grant = visitor.state.directory.current.tokens.get(token.digest)
    except NotFound:
        grant = None
    if grant is None or (grant.expires_at is not None and grant.expires_at <= to_micros(now())):
        raise Unprocessable("This token is not valid, or not any more.", param="payer")
    return grant
