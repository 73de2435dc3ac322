"""Who calls and in which transaction: what the handlers of `/api/v1` are given.

Every route names `actor` or `administrator` among its dependencies: the start is refused otherwise
(`assert_every_route_has_a_policy`). A handler names it before its session, so that nobody who may
not call ever waits for, or holds, the right to write.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.routing import iter_route_contexts
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import csrf
from aieye.access.audit import Actor
from aieye.access.bounds import bounds_of
from aieye.access.sessions import SESSION_COOKIE, find_session
from aieye.access.snapshot import SCOPES
from aieye.cache.key import read_object
from aieye.db.types import now, to_micros
from aieye.errors import Forbidden, InvalidToken, Unauthenticated
from aieye.late_route import called_by
from aieye.state import State, change
from aieye.telemetry import request_id

PREFIX = "/api/v1"
# Routes under the prefix that anybody may call, as "METHOD /path". There are none.
PUBLIC_ROUTES: frozenset[str] = frozenset()

BEARER = HTTPBearer(
    scheme_name="token", description="A public token of the scope admin.", auto_error=False
)
COOKIE = APIKeyCookie(
    name=SESSION_COOKIE,
    scheme_name="session",
    description="A signed-in session; unsafe methods also need the header X-CSRFToken.",
    auto_error=False,
)


async def get_state(request: Request) -> State:
    """What the running process holds."""
    state: State = request.app.state.aieye
    return state


CurrentState = Annotated[State, Depends(get_state)]


async def reading(state: CurrentState) -> AsyncIterator[AsyncSession]:
    """A session for looking, closed before the response goes out."""
    async with state.database.read() as session:
        yield session


async def changing(state: CurrentState) -> AsyncIterator[AsyncSession]:
    """A session for one change, committed before the response goes out."""
    async with change(state) as session:
        yield session


Reading = Annotated[AsyncSession, Depends(reading, scope="function")]
Changing = Annotated[AsyncSession, Depends(changing, scope="function")]


async def actor(
    request: Request,
    state: CurrentState,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)],
    cookie: Annotated[str | None, Depends(COOKIE)],
) -> Actor:
    """The user who calls, by token or session. Raises `Unauthenticated`, `Forbidden`.

    With an `Authorization` header cookies mean nothing, so that no session widens a token.
    """
    if "authorization" in request.headers:
        return await _by_token(request, state, bearer.credentials if bearer else "")
    if cookie:
        return await _by_session(request, state, cookie)
    raise Unauthenticated(
        "No token was given: send it as the header `Authorization: Bearer <token>`."
    )


CurrentActor = Annotated[Actor, Depends(actor)]


async def administrator(caller: CurrentActor) -> Actor:
    """The caller, who is an administrator. Raises `Forbidden` besides what `actor` does."""
    if not caller.is_administrator:
        raise Forbidden("Only an administrator may do this.")
    return caller


CurrentAdministrator = Annotated[Actor, Depends(administrator)]


async def strict_json(request: Request) -> None:
    """Refuse a body that programs read differently, as `/v1` does; the framework's reader takes a byte
    order mark and a key that stands twice. Raises `NotJson`."""
    takes_body = getattr(request.scope.get("route"), "body_field", None) is not None
    if takes_body and (body := await request.body()):
        read_object(body)


def own_id(caller: Actor) -> int:
    """The id of the user who calls: a request always has one, unlike the command line."""
    assert caller.user_id is not None
    return caller.user_id


async def _by_token(request: Request, state: State, secret: str) -> Actor:
    grant = await state.directory.know_grant(secret)
    if grant is None:
        raise InvalidToken
    if grant.expires_at is not None and grant.expires_at <= to_micros(now()):
        raise InvalidToken
    if grant.scope < SCOPES["admin"]:
        raise Forbidden(
            "This needs a token of the scope admin: create one at /tokens/new, or with "
            "`aieye token create NAME --scope admin`."
        )
    return Actor(
        grant.user_id, grant.user, grant.role, _address(request), request_id.get(),
        bounds_of(grant),
    )  # fmt: skip


async def _by_session(request: Request, state: State, cookie: str) -> Actor:
    signed_in = await find_session(state.database, cookie)
    if signed_in is None:
        raise Unauthenticated("The session has ended: sign in again.")
    fault = csrf.find_fault(
        request.method,
        fetch_site=request.headers.get("sec-fetch-site"),
        origin=request.headers.get("origin"),
        origins=csrf.own_origins(state.settings.base_url),
        expected=signed_in.csrf_token,
        given=request.headers.get(csrf.TOKEN_HEADER),
    )
    if fault is not None:
        raise Forbidden(fault)
    return signed_in.actor(ip=_address(request), request_id=request_id.get())


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def assert_every_route_has_a_policy(app: FastAPI) -> None:
    """Refuse to start (`RuntimeError`) while a route of `/api/v1` does not say who may call it."""
    undecided = sorted(set(_undecided(app)) - PUBLIC_ROUTES)
    if undecided:
        raise RuntimeError(f"These routes do not say who may call them: {', '.join(undecided)}")


def _undecided(app: FastAPI) -> Iterator[str]:
    for route in iter_route_contexts(app.routes):
        if (route.path or "").startswith(PREFIX) and actor not in called_by(route):
            # Mounts and websockets have no methods.
            yield from (f"{method} {route.path}" for method in route.methods or {"ANY"})
