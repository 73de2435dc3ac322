"""How a page comes about: who looks at it, the template, and what an error looks like."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi.routing import APIRoute

from aieye import __version__
from aieye.access.sessions import SESSION_COOKIE, SignedIn, find_session
from aieye.errors import AieyeError
from aieye.headers import TrustedProxies, client_ip
from aieye.program import program
from aieye.state import State
from aieye.telemetry import denials
from aieye.ui import static

if TYPE_CHECKING:
    from jinja2 import Environment


def get_state(request: Request) -> State:
    """What the running process holds."""
    state: State = request.app.state.aieye
    return state


async def find_signed_in(request: Request) -> SignedIn | None:
    """Who looks at the page."""
    cookie = request.cookies.get(SESSION_COOKIE)
    return await find_session(get_state(request).database, cookie) if cookie else None


def client_address(request: Request) -> str:
    """The address that the request comes from, behind trusted proxies the client's own."""
    return client_ip(request.scope, TrustedProxies(get_state(request).settings.trusted_proxies))


def page(
    request: Request,
    template: str,
    *,
    signed_in: SignedIn | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """The page that `template` makes of `values`."""
    state = get_state(request)
    html = _templates().get_template(template).render(
        signed_in=signed_in, is_demo=state.directory.is_demo,
        is_demo_forced=state.directory.is_demo and not state.directory.is_keyless, version=__version__,
        aieye=program(), **values
    )  # fmt: skip
    return HTMLResponse(html, status, dict(headers or {}))


def wants_json(request: Request) -> bool:
    """Whether a program asks: it sent JSON, or takes JSON and no page."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    accepted = request.headers.get("accept", "").lower()
    takes_json = "application/json" in accepted and "text/html" not in accepted
    return sent == "application/json" or takes_json


class PageRoute(APIRoute):
    """A route whose errors are pages, for programs `{"detail": …}`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except AieyeError as error:
                return render_error(request, error)

        return answer


def render_error(request: Request, error: AieyeError) -> Response:
    """An error as the one who asked can read it."""
    if error.status == 403:
        path, ip = request.scope["path"], client_address(request)
        denials.note(error.status, error.code, method=request.method, path=path, ip=ip)
    headers = {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
    if wants_json(request):
        return JSONResponse({"detail": error.message}, error.status, headers)
    return page(request, "error.html", status=error.status, headers=headers, message=error.message)


@functools.cache
def _templates() -> Environment:
    # A server that only programs call makes no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("aieye.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static_url"] = static.url
    return environment
