"""How a page comes about: the template, the block of it that was asked for, what an error looks like."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from markupsafe import Markup

from aieye import __version__
from aieye.access import csrf
from aieye.access.authored import DeletedLately
from aieye.access.secrets import make_secret
from aieye.access.sessions import CSRF_COOKIE, SignedIn
from aieye.db.types import now
from aieye.errors import AieyeError
from aieye.late_route import Called, LateRoute
from aieye.program import program
from aieye.telemetry import denials, request_id
from aieye.ui import charts, icons, recent, show, static, toasts
from aieye.ui.links import Here
from aieye.ui.ranges import RANGES, find_zone
from aieye.ui.session import (
    ZONE_COOKIE,
    SignInFirst,
    client_address,
    find_signed_in,
    get_state,
    here,
    known_signed_in,
    require_own_site,
)
from aieye.ui.shell import navigation, paths_of

if TYPE_CHECKING:
    from jinja2 import Environment, Template

__all__ = ["PageRoute", "client_address", "find_signed_in", "get_state", "go", "is_fragment", "page",
           "part", "render_error", "wants_json"]  # fmt: skip

THEME_COOKIE = "theme"
THEMES = ("light", "dark")
NEVER_SWAPPED = 204
_LEAST_COMPRESSED = 1_400
_LEVEL = 5


def page(
    request: Request,
    template: str,
    *,
    block: str | None = None,
    signed_in: SignedIn | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    toast: str | None = None,
    **values: Any,
) -> HTMLResponse:
    """The page that `template` makes of `values`, or the block of it that htmx asked for.

    A fragment is the block that is called as the target it goes into: with `hx-target="#rows"` the
    answer is `{% block rows %}`, so that page and fragment cannot differ. `block` names another one.
    `toast` is a message for this page.
    """
    found = signed_in or known_signed_in(request)
    compiled = _templates().get_template(template)
    if status == 200 and getattr(values.get("period"), "fault", None):
        status = 422
    values |= _common(request, found, [toasts.Toast("good", toast)] if toast else [])
    wanted = block or _target(request)
    if wanted is not None and wanted in compiled.blocks and (block or is_fragment(request)):
        answer = _answer(request, _block(compiled, wanted, values), status, headers)
        if toast:
            toasts.add_to_fragment(answer, toast)
        if found and wanted == "drawer":
            recent.note(request, answer, found)
    else:
        # A page shows what a redirect left for it, once.
        values["toasts"] = [*toasts.take(request), *values["toasts"]]
        answer = _answer(request, compiled.render(values), status, headers)
        toasts.clear(request, answer)
        if found:
            recent.note(request, answer, found)
    return answer


def part(request: Request, template: str, block: str, **values: Any) -> str:
    """A block of a template as a text, for streams of events."""
    values |= _common(request, known_signed_in(request), [])
    return _block(_templates().get_template(template), block, values)


def _block(template: Template, name: str, values: dict[str, Any]) -> str:
    return "".join(template.blocks[name](template.new_context(values)))


def _answer(
    request: Request, html: str, status: int, headers: Mapping[str, str] | None
) -> HTMLResponse:
    """The response, compressed where that is worth it. What is secret in a page is masked or shown in
    answers to forms only, which no other site can have sent; so its length tells nothing."""
    given = {**(headers or {}), "Vary": "HX-Request, HX-Target, Cookie, Accept-Encoding"}
    content = html.encode("utf-8", "replace")
    if len(content) >= _LEAST_COMPRESSED and static.takes_gzip(request):
        given["Content-Encoding"] = "gzip"
        content = gzip.compress(content, _LEVEL, mtime=0)
    return HTMLResponse(content, status, given)


def go(
    request: Request,
    target: str,
    *,
    toast: str | None = None,
    kind: Literal["good", "bad"] = "good",
    undo: str = "",
) -> Response:
    """Go to another page after something was done; `toast` says there what it was, and `undo` is the
    address of the form that takes it back."""
    if "hx-request" in request.headers:
        # A browser follows a redirect itself, and htmx would put the whole page into a part of it.
        answer = Response(
            None, NEVER_SWAPPED, {"HX-Redirect": quote(target, safe="/?&=%:+,~@!$'()*;#")}
        )
    else:
        answer = RedirectResponse(target, 303)
    if toast:
        toasts.leave(request, answer, toast, kind, undo)
    return answer


def is_fragment(request: Request) -> bool:
    """Whether htmx asks for a part of the page."""
    return request.headers.get("hx-request-type") == "partial"


def wants_json(request: Request) -> bool:
    """Whether a program asks: it sent JSON, or takes JSON and no page."""
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    accepted = request.headers.get("accept", "").lower()
    takes_json = "application/json" in accepted and "text/html" not in accepted
    return sent == "application/json" or takes_json


class PageRoute(LateRoute):
    """A route whose errors are pages, for programs `{"detail": …}`; what answers GET answers HEAD too.

    Here stands the one check against requests that other sites had the browser send.
    """

    def __init__(self, path: str, endpoint: Called, **others: Any) -> None:
        methods = set(others.pop("methods", None) or ["GET"])
        if "GET" in methods:
            methods.add("HEAD")
        super().__init__(path, endpoint, methods=methods, **others)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            response = await find_answer(request)
            return _without_body(response) if request.method == "HEAD" else response

        async def find_answer(request: Request) -> Response:
            try:
                await require_own_site(request)
                return await handler(request)
            except SignInFirst as error:
                if wants_json(request):
                    return JSONResponse({"detail": error.message}, 401)
                if request.headers.get("accept") == "text/event-stream":
                    # So a browser asks no more; a page would be an error in its console.
                    return Response(None, NEVER_SWAPPED)
                return go(request, error.location)
            except AieyeError as error:
                return render_error(request, error)
            except RequestValidationError as error:
                return render_invalid(request, error)
            finally:
                # Files of a form, if it had any.
                await request.close()

        return answer


def _without_body(response: Response) -> Response:
    """Its status and headers alone: a stream is never begun, so that it needs no end."""
    head = Response(None, response.status_code)
    head.raw_headers = response.raw_headers
    return head


def render_error(request: Request, error: AieyeError) -> Response:
    """An error as the one who asked can read it."""
    if error.status == 403:
        path, ip = request.scope["path"], client_address(request)
        denials.note(error.status, error.code, method=request.method, path=path, ip=ip)
    headers = {name: value for name, value in error.headers.items() if name != "WWW-Authenticate"}
    undo = f"/undo/{error.kind}/{error.row_id}" if isinstance(error, DeletedLately) else ""
    return render_failure(request, error.status, error.message, headers, undo=undo)


def render_invalid(request: Request, error: RequestValidationError) -> Response:
    """A part of the address, or a field, that has the wrong form."""
    place = [str(part) for part in error.errors()[0]["loc"][1:]]
    if error.errors()[0]["loc"][0] == "path":
        return render_failure(request, 404, "There is no such page.")
    name = ".".join(place) if all(part.isidentifier() for part in place) else "…"
    said = str(error.errors()[0]["msg"]).removeprefix("Input ")
    return render_failure(request, 422, f"In the address, {name} {said[:1].lower()}{said[1:]}.")


def render_failure(
    request: Request, status: int, message: str, headers: Mapping[str, str] | None = None, *,
    undo: str = "",
) -> Response:  # fmt: skip
    """What went wrong: a page, for htmx the place's own fragment or a toast, for programs JSON.

    A form that is sent to `undo` mends it.
    """
    if wants_json(request):
        return JSONResponse({"detail": message}, status, dict(headers or {}))
    is_reading = request.method in csrf.SAFE_METHODS
    if is_reading or not is_fragment(request):
        return page(
            request, "error.html", block="failure" if is_fragment(request) else None, status=status,
            headers=headers, message=message, code=status, reference=request_id.get(), undo=undo,
            # What was sent is not sent again by a link.
            again=here(request) if is_reading and status >= 500 else None,
        )  # fmt: skip
    # What was typed stays where it is.
    answer = Response(None, status, dict(headers or {}) | {"HX-Reswap": "none"})
    toasts.add_to_fragment(answer, message, "bad")
    return answer


def _target(request: Request) -> str | None:
    """The block that the target's id names: `tbody#rows` is `rows`, `form#new-token` `new_token`."""
    _, _, name = request.headers.get("hx-target", "").partition("#")
    return name.replace("-", "_") or None


def _common(request: Request, signed_in: SignedIn | None, messages: list[Any]) -> dict[str, Any]:
    """What every template has."""
    state = get_state(request)
    theme = request.cookies.get(THEME_COOKIE)
    zone = find_zone(request.cookies.get(ZONE_COOKIE))
    moment = now()
    token = csrf.mask(signed_in.csrf_token if signed_in else request.cookies.get(CSRF_COOKIE, ""))
    return {
        "signed_in": signed_in,
        "is_demo": state.directory.is_demo,
        "is_demo_forced": state.directory.is_demo_forced,
        "is_keyless": state.directory.is_keyless,
        "version": __version__,
        "aieye": program(),
        "theme": theme if theme in THEMES else "system",
        "is_narrow": request.cookies.get("rail") == "narrow",
        "base_url": state.settings.base_url,
        "here": here(request),
        "navigation": navigation(request, signed_in),
        "pages": paths_of(request),
        "hx_headers": json.dumps({"X-CSRFToken": token}),
        "csrf_field": Markup('<input type="hidden" name="csrf_token" value="{}">').format(token),
        # For forms that hand out a secret: see `saving.require_first`.
        "once_field": Markup('<input type="hidden" name="form_id" value="{}">').format(
            make_secret()
        ),
        "now": moment,
        "zone": zone,
        "when": functools.partial(show.when, now=moment, zone=zone),
        "toasts": messages,
    }


@functools.cache
def _templates() -> Environment:
    # A server that only programs call makes no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415

    from aieye.ui.compiled import Compiled  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("aieye.ui"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        bytecode_cache=Compiled(),
    )
    environment.globals |= {
        "static_url": static.url,
        "icon": icons.icon,
        "charts": charts,
        "show": show,
        "RANGES": RANGES,
        "Here": Here,
    }
    environment.filters |= {
        name: getattr(show, name)
        for name in ("number", "compact", "money", "dollars", "ms", "duration", "size", "percent",
                     "middle", "plural")
    }  # fmt: skip
    environment.globals["ui"] = _components(environment)
    return environment


def compile_templates() -> None:
    """Compile all, for whoever builds an image that is not written to once it runs."""
    environment = _templates()
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)


class _Components:
    """The macros of `templates/components/`, as `ui.NAME` in every template and in each other."""


def _components(environment: Environment) -> _Components:
    components = _Components()
    environment.globals["ui"] = components
    for name in environment.list_templates(filter_func=lambda one: one.startswith("components/")):
        module = environment.get_template(name).module
        for key, macro in vars(module).items():
            if not key.startswith("_"):
                setattr(components, key, macro)
    return components
