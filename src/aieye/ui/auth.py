"""Sign-in, sign-out, and the first administrator's set-up, for people and for scripts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from aieye.access import csrf
from aieye.access.attempts import TooManyAttempts
from aieye.access.emails import check_email
from aieye.access.owners import has_administrator
from aieye.access.passwords import check_password, hash_password
from aieye.access.sessions import (
    ABSOLUTE,
    CSRF_COOKIE,
    SESSION_COOKIE,
    NewSession,
    SignInFailed,
    end_session,
    login,
    start_session,
)
from aieye.access.setup import check_setup_link, use_setup_link
from aieye.errors import AieyeError, Unprocessable
from aieye.headers import TrustedProxies, find_disbelieved
from aieye.telemetry.loggers import get_logger
from aieye.ui.forms import form_token, read_fields, safe_next
from aieye.ui.pages import (
    THEME_COOKIE,
    THEMES,
    PageRoute,
    go,
    page,
    render_error,
    wants_json,
)
from aieye.ui.session import anyone, client_address, find_signed_in, get_state

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[Depends(anyone)])

log = get_logger()

_REQUIRED = "This field is required."
_YEAR_SECONDS = 365 * 86_400


@router.get("/login")
async def show_login(request: Request) -> Response:
    """The form, for whoever is not signed in yet."""
    target = safe_next(request.query_params.get("next"))
    if await find_signed_in(request) is not None:
        return RedirectResponse(target, 303)
    async with get_state(request).database.read() as session:
        if not await has_administrator(session):
            return page(request, "waiting.html")
    return _login_form(request, {"next": target})


@router.post("/login")
@router.post("/login/")
async def sign_in(request: Request) -> Response:
    """Sign in with `email` and `password`; both cookies come with the answer."""
    fields = await read_fields(request)
    missing = [name for name in ("email", "password") if not fields.get(name)]
    if missing:
        return _refuse_fields(request, fields, missing)
    try:
        begun = await login(
            get_state(request).database,
            email=fields["email"],
            password=fields["password"],
            ip=client_address(request),
            user_agent=request.headers.get("user-agent", ""),
        )
    except (SignInFailed, TooManyAttempts) as error:
        return _refuse_sign_in(request, fields, error)
    await _end_former(request)
    if wants_json(request):
        return with_cookies(request, JSONResponse({"success": True}), begun)
    target = RedirectResponse(safe_next(fields.get("next")), 303)
    return with_cookies(request, target, begun)


@router.post("/logout")
async def sign_out(request: Request) -> Response:
    """End the session; whoever has none is signed out already."""
    await _end_former(request)
    response = JSONResponse({"success": True}) if wants_json(request) else go(request, "/login")
    return forget_cookies(request, response)


@router.get("/setup")
async def show_setup(request: Request) -> Response:
    """The form behind the set-up link."""
    link = request.query_params.get("token", "")
    state = get_state(request)
    async with state.database.read() as session:
        await check_setup_link(session, state.directory.digest, link)
    return _setup_form(request, {"token": link})


@router.post("/setup")
async def set_up(request: Request) -> Response:
    """Make the first administrator and sign them in."""
    fields = await read_fields(request)
    state, link = get_state(request), fields.get("token", "")
    async with state.database.read() as session:
        await check_setup_link(session, state.directory.digest, link)
    try:
        email = check_email(fields.get("email", ""))
        password = check_password(fields.get("password", ""), email=email)
    except Unprocessable as error:
        return _setup_form(request, fields, error)
    password_hash = await hash_password(password)
    ip = client_address(request)
    async with state.database.write() as session:
        user = await use_setup_link(
            session, state.directory.digest, link,
            email=email, password_hash=password_hash, ip=ip,
        )  # fmt: skip
        agent = request.headers.get("user-agent", "")
        begun = await start_session(session, user.id, ip=ip, user_agent=agent)
    await state.directory.refresh()
    return with_cookies(request, RedirectResponse("/", 303), begun)


def _login_form(
    request: Request, fields: Mapping[str, str], *, status: int = 200,
    error: str | None = None, headers: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    token = form_token(request)
    response = page(
        request, "login.html", status=status, headers=headers, error=error, csrf_token=csrf.mask(token),
        email=fields.get("email", ""), next=safe_next(fields.get("next")),
    )  # fmt: skip
    return with_form_cookie(request, response, token)


def _setup_form(
    request: Request, fields: Mapping[str, str], error: AieyeError | None = None
) -> Response:
    token = form_token(request)
    response = page(
        request, "setup.html", status=error.status if error else 200, csrf_token=csrf.mask(token),
        token=fields.get("token", ""), email=fields.get("email", ""),
        error=error.message if error else None, field=error.param if error else None,
    )  # fmt: skip
    return with_form_cookie(request, response, token)


def _refuse_fields(request: Request, fields: Mapping[str, str], missing: list[str]) -> Response:
    if wants_json(request):
        return JSONResponse({name: [_REQUIRED] for name in missing}, 400)
    return _login_form(request, fields, status=422, error="Give your e-mail and your password.")


def _refuse_sign_in(request: Request, fields: Mapping[str, str], error: AieyeError) -> Response:
    trusted = TrustedProxies(get_state(request).settings.trusted_proxies)
    if peer := find_disbelieved(request.scope, trusted):
        warn_of_proxy(peer)
    if wants_json(request):
        return render_error(request, error)
    retry = {name: value for name, value in error.headers.items() if name == "Retry-After"}
    return _login_form(request, fields, status=error.status, error=error.message, headers=retry)


@lru_cache(maxsize=16)
def warn_of_proxy(peer: str) -> None:
    """Say once that failed sign-ins of everybody behind a proxy count together."""
    log.warning(
        "forwarded_for_not_believed", peer=peer, setting="AIEYE_TRUSTED_PROXIES",
        consequence="failed sign-ins of all clients of this peer count together; if it is your proxy, "
        "name its address in the setting",
    )  # fmt: skip


async def _end_former(request: Request) -> None:
    """The cookie that came with the request is good for nothing from now on."""
    if cookie := request.cookies.get(SESSION_COOKIE):
        async with get_state(request).database.write() as session:
            await end_session(session, cookie)


def forget_cookies(request: Request, response: Response) -> Response:
    """Have the browser forget its session."""
    for name in (SESSION_COOKIE, CSRF_COOKIE):
        response.delete_cookie(name, secure=_is_https(request), samesite="lax")
    return response


def keep_theme(request: Request, response: Response, theme: str) -> Response:
    """Have the browser keep a theme; another word than one of them is the system's."""
    if theme in THEMES:
        response.set_cookie(
            THEME_COOKIE, theme, max_age=_YEAR_SECONDS, path="/",
            secure=_is_https(request), samesite="lax",
        )  # fmt: skip
    else:
        response.delete_cookie(THEME_COOKIE, secure=_is_https(request), samesite="lax")
    return response


def with_cookies(request: Request, response: Response, begun: NewSession) -> Response:
    """Have the browser keep its new session."""
    seconds = int(ABSOLUTE.total_seconds())
    response.set_cookie(
        SESSION_COOKIE, begun.cookie, max_age=seconds, path="/",
        secure=_is_https(request), httponly=True, samesite="lax",
    )  # fmt: skip
    return with_form_cookie(request, response, begun.csrf_token, seconds)


def with_form_cookie(
    request: Request, response: Response, token: str, seconds: int | None = None
) -> Response:
    """Have the browser keep the token of a form that is shown before anybody signed in."""
    # Scripts read it to send it back as X-CSRFToken, so it is not HttpOnly; alone it is no secret.
    response.set_cookie(
        CSRF_COOKIE, token, max_age=seconds, path="/",
        secure=_is_https(request), samesite="lax",
    )  # fmt: skip
    return response


def _is_https(request: Request) -> bool:
    return get_state(request).settings.base_url.startswith("https://")
