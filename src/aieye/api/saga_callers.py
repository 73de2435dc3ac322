"""Who calls `/_saga`, and what a request asks there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from fastapi import Request, Response

from aieye.access import csrf
from aieye.access.audit import Actor
from aieye.access.bounds import bounds_of
from aieye.access.open_calls import is_open_token_disabled, keep_open_token
from aieye.access.secrets import OPEN_CALLS_DIGEST
from aieye.access.snapshot import USER, Grant
from aieye.api.originals import grant_of
from aieye.db.types import now, to_micros
from aieye.errors import Forbidden, Unauthenticated
from aieye.presets.models import Preset
from aieye.state import State, change
from aieye.telemetry import request_id

MOST_BYTES: Final = 8 * 2**20
"""Of a request's body."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its caller. `document` is its body, empty where it takes none.

    Models that name no provider go where the configuration file says, if it says so
    (`Grant.home_id`).
    """

    request: Request
    state: State
    grant: Grant
    document: Mapping[str, Any]

    @property
    def actor(self) -> Actor:
        """The caller as whom changes are made."""
        grant, client = self.grant, self.request.client
        return Actor(
            grant.user_id, grant.user, grant.role, client.host if client else "",
            request_id.get(), bounds_of(grant),
        )  # fmt: skip


Process = Callable[[Asked, Preset], Awaitable[Response]]
"""Answers `process` for the presets of a type. What it raises is told in the routes' shape."""


async def grant_of_request(request: Request, state: State) -> Grant:
    """The caller's token; without one the token `saga`, where the routes are open.

    Raises `Unauthenticated`, and `Forbidden` for what another site lets a browser send.
    """
    authorization = request.headers.get("authorization")
    if authorization is None and state.settings.saga_open:
        _refuse_other_sites(request, state)
        grant = await _open_grant(state)
    else:
        grant = await grant_of(state, authorization or "")
    home = state.directory.current.providers.get(state.saga_provider or "")
    return grant if home is None else replace(grant, home_id=home.id)


def _refuse_other_sites(request: Request, state: State) -> None:
    """A page of any site can send JSON as text, and needs no token here: it would spend money."""
    if csrf.is_foreign(
        request.method,
        fetch_site=request.headers.get("sec-fetch-site"),
        origin=request.headers.get("origin"),
        origins=csrf.own_origins(state.settings.base_url),
    ):
        raise Forbidden("The request comes from another site: it needs a token.")


async def _open_grant(state: State) -> Grant:
    """What callers without a token may do: never what an administrator may beyond a user."""
    grant = state.directory.current.tokens.get(OPEN_CALLS_DIGEST)
    if grant is None and not await _is_disabled(state):
        async with change(state) as session:
            is_usable = await keep_open_token(session)
        grant = state.directory.current.tokens.get(OPEN_CALLS_DIGEST) if is_usable else None
    if grant is None:
        raise Unauthenticated("The token saga, to which open calls are booked, is disabled.")
    if grant.expires_at is not None and grant.expires_at <= to_micros(now()):
        raise Unauthenticated("The token saga, to which open calls are booked, has expired.")
    return replace(grant, role=USER)


async def _is_disabled(state: State) -> bool:
    async with state.database.read() as session:
        return await is_open_token_disabled(session)
