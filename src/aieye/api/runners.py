"""Who calls a pipeline, and who pays for it: a token, or a session with the key that it chose."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from aieye.access import csrf
from aieye.access.audit import Actor
from aieye.access.bounds import bounds_of
from aieye.access.grants import grant_of_user
from aieye.access.sessions import SESSION_COOKIE, SignedIn, find_session
from aieye.access.snapshot import Grant
from aieye.errors import Forbidden, InvalidToken, NotFound, Unauthenticated, Unprocessable
from aieye.pipeline.failures import RunFailed
from aieye.pipeline.run_record import Finished
from aieye.state import State
from aieye.telemetry import request_id


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `grant` is who pays; of a session it names no key yet (`with_key`)."""

    actor: Actor
    grant: Grant
    is_session: bool

    def with_key(self, state: State, key_id: int | None) -> Caller:
        """The caller with a provider's key. Raises `NotFound` for one that may not be used."""
        if key_id is None:
            return self
        if key_id not in state.directory.current.keys:
            raise NotFound(f"There is no key {key_id}.", param="openaikey_id")
        return Caller(self.actor, _grant_of(self.actor, key_id), is_session=True)


def by_grant(grant: Grant, request: Request | None = None) -> Caller:
    """A token's user, who pays with the token."""
    address = request.client.host if request is not None and request.client else ""
    actor = Actor(
        grant.user_id, grant.user, grant.role, address, request_id.get(), bounds_of(grant)
    )
    return Caller(actor, grant, is_session=False)


async def by_session(request: Request, state: State) -> Caller:
    """Who is signed in. Raises `Unauthenticated`, and `Forbidden` for what another site sent."""
    cookie = request.cookies.get(SESSION_COOKIE)
    if not cookie:
        raise Unauthenticated("Authentication credentials were not provided.")
    signed_in = await find_session(state.database, cookie)
    if signed_in is None:
        raise Unauthenticated("The session has ended: sign in again.")
    _check_origin(request, state, signed_in)
    address = request.client.host if request.client else ""
    actor = signed_in.actor(ip=address, request_id=request_id.get())
    return Caller(actor, _grant_of(actor, None), is_session=True)


def _check_origin(request: Request, state: State, signed_in: SignedIn) -> None:
    fault = csrf.find_fault(
        request.method,
        fetch_site=request.headers.get("sec-fetch-site"),
        origin=request.headers.get("origin"),
        origins=csrf.own_origins(state.settings.base_url),
        expected=signed_in.csrf_token,
        given=request.headers.get(csrf.TOKEN_HEADER),
    )
    if fault is not None:
        raise Forbidden(f"CSRF Failed: {fault}")


def _grant_of(actor: Actor, key_id: int | None) -> Grant:
    assert actor.user_id is not None
    return grant_of_user(actor.user_id, actor.label, actor.role, key_id=key_id)


def grant_of_caller(
    request: Request, state: State, actor: Actor, *, key_id: int | None = None
) -> Grant:
    """Who pays for a call of `/api/v1`, whose caller is known already.

    `key_id` is the key that a session chose. Raises `NotFound`, `Unprocessable`.
    """
    authorization = request.headers.get("authorization")
    if authorization is None:
        if key_id is not None and key_id not in state.directory.current.keys:
            raise NotFound(f"There is no key {key_id}.", param="key_id")
        return _grant_of(actor, key_id)
    if key_id is not None:
        raise Unprocessable("A token has its own key: key_id is for sessions.", param="key_id")
    grant = state.directory.find_grant(authorization.partition(" ")[2].strip())
    if grant is None:
        raise InvalidToken
    return grant


def failure_of(finished: Finished) -> RunFailed:
    """Why a run failed, as it is answered: a provider's fault in a step is not the caller's."""
    failure = finished.failure
    assert failure is not None
    failure.status = failure.fault_status or failure.status  # type: ignore[misc] # per answer here
    failure.headers["X-Run-Id"] = finished.run_id
    return failure
