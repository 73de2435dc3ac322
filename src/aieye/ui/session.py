"""Who looks at a page: the dependencies that every page names, and the one check against other sites.

A page says `visitor: RequireUser` or `visitor: RequireAdministrator`, and then has the state, who is
signed in, and the actor for the services. Whoever is not signed in is sent to `/login` and back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Annotated
from urllib.parse import urlencode, urlsplit

from fastapi import Depends, Request

from aieye.access import csrf
from aieye.access.audit import Actor
from aieye.access.sessions import CSRF_COOKIE, SESSION_COOKIE, SignedIn, find_session
from aieye.db.types import now
from aieye.errors import AieyeError, Forbidden
from aieye.headers import TrustedProxies, client_ip
from aieye.state import State
from aieye.telemetry import request_id
from aieye.ui.fields import Fields
from aieye.ui.forms import CrossSite, read_fields
from aieye.ui.links import Here
from aieye.ui.ranges import Range, find_zone, read_range, shown_range

# Forms for whoever has no session yet; their token is that of the form's cookie.
SIGN_INS = frozenset({"/login", "/login/", "/setup", "/invitation"})
ZONE_COOKIE = "tz"


class SignInFirst(AieyeError):
    """Nobody is signed in, or not any more: the way is over `/login`."""

    status = 303
    code = "sign_in_first"

    def __init__(self, target: str) -> None:
        super().__init__("Sign in first.")
        self.location = "/login" if target == "/" else f"/login?{urlencode({'next': target})}"


def get_state(request: Request) -> State:
    """What the running process holds."""
    state: State = request.app.state.aieye
    return state


def client_address(request: Request) -> str:
    """The address that the request comes from, behind trusted proxies the client's own."""
    return client_ip(request.scope, TrustedProxies(get_state(request).settings.trusted_proxies))


async def find_signed_in(request: Request) -> SignedIn | None:
    """Who looks at the page; looked up once a request."""
    if not hasattr(request.state, "signed_in"):
        cookie = request.cookies.get(SESSION_COOKIE)
        request.state.signed_in = (
            await find_session(get_state(request).database, cookie) if cookie else None
        )
    signed_in: SignedIn | None = request.state.signed_in
    return signed_in


def known_signed_in(request: Request) -> SignedIn | None:
    """Who was found to look at the page; None too while nobody has asked."""
    signed_in: SignedIn | None = getattr(request.state, "signed_in", None)
    return signed_in


async def require_own_site(request: Request) -> None:
    """Refuse an unsafe request that another site's page had the browser send. Raises `CrossSite`.

    Called for every request to a page (`PageRoute`), so that no form can forget it. What has neither
    a session nor begins one does nothing, so nobody can be made to do it.
    """
    if request.method in csrf.SAFE_METHODS:
        return
    is_sign_in = request.scope["path"] in SIGN_INS
    signed_in = None if is_sign_in else await find_signed_in(request)
    if signed_in is None and not is_sign_in:
        return
    given = request.headers.get(csrf.TOKEN_HEADER)
    if given is None and "content-type" in request.headers:
        given = (await read_fields(request)).get(csrf.TOKEN_FIELD)
    fault = csrf.find_fault(
        request.method,
        fetch_site=request.headers.get("sec-fetch-site"),
        origin=request.headers.get("origin"),
        origins=csrf.own_origins(get_state(request).settings.base_url),
        expected=request.cookies.get(CSRF_COOKIE) if signed_in is None else signed_in.csrf_token,
        given=given,
        is_sign_in=is_sign_in,
    )
    if fault is not None:
        raise CrossSite(fault)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody signed in, at a page."""

    request: Request
    state: State
    signed_in: SignedIn
    actor: Actor

    @property
    def is_administrator(self) -> bool:
        return self.signed_in.is_administrator

    @property
    def user_id(self) -> int:
        return self.signed_in.user_id

    @property
    def owner_id(self) -> int | None:
        """Whose rows to show: one's own, for administrators everybody's (None)."""
        return None if self.is_administrator else self.user_id

    @property
    def now(self) -> datetime:
        return now()

    @property
    def zone(self) -> tzinfo:
        """The time zone that the browser is in, as its cookie says."""
        return find_zone(self.request.cookies.get(ZONE_COOKIE))

    def range(self, default: str = "24h") -> Range:
        """The time range in the URL; for one that is none, the usual one, which says so."""
        return shown_range(self.request.query_params, now=now(), zone=self.zone, default=default)

    def exact_range(self, default: str = "24h") -> Range:
        """The time range in the URL, for what has no place to say that it is another: files and
        streams. Raises `InvalidRequest`."""
        return read_range(self.request.query_params, now=now(), zone=self.zone, default=default)

    @property
    def here(self) -> Here:
        """The address of the page, to link to it with another query."""
        return here(self.request)

    async def fields(self) -> Fields:
        """What the form or the script sent. Raises `InvalidRequest`, `PayloadTooLarge`."""
        return await read_fields(self.request)


def here(request: Request) -> Here:
    """The address that was asked for."""
    return Here(request.scope["path"], tuple(request.query_params.multi_items()))


async def require_user(request: Request) -> Visitor:
    """Whoever is signed in. Raises `SignInFirst`."""
    signed_in = await find_signed_in(request)
    if signed_in is None:
        raise SignInFirst(_way_back(request))
    actor = signed_in.actor(ip=client_address(request), request_id=request_id.get())
    return Visitor(request, get_state(request), signed_in, actor)


RequireUser = Annotated[Visitor, Depends(require_user)]


async def require_administrator(visitor: RequireUser) -> Visitor:
    """A signed-in administrator. Raises `SignInFirst`, `Forbidden`."""
    if not visitor.is_administrator:
        raise Forbidden("Only an administrator may see or do this.")
    return visitor


RequireAdministrator = Annotated[Visitor, Depends(require_administrator)]


async def anyone(request: Request) -> None:
    """For the few pages that need nobody signed in: says so in the table of routes."""
    await find_signed_in(request)


def _way_back(request: Request) -> str:
    """The page to come back to: the one asked for, of a form or fragment the one it stands on."""
    if "hx-request" not in request.headers and request.method in csrf.SAFE_METHODS:
        return str(here(request))
    current = urlsplit(request.headers.get("hx-current-url", ""))
    return f"{current.path}?{current.query}" if current.query else current.path or "/"
