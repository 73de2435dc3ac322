"""The page behind an invitation: somebody sets their password and is signed in."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from aieye.access import csrf
from aieye.access.invitations import accept, find_invited
from aieye.access.passwords import check_password, hash_password
from aieye.access.sessions import start_session
from aieye.errors import Unprocessable
from aieye.ui.auth import with_cookies, with_form_cookie
from aieye.ui.forms import form_token, read_fields
from aieye.ui.pages import PageRoute, page
from aieye.ui.session import anyone, client_address, get_state

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[Depends(anyone)])


@router.get("/invitation")
async def show_invitation(request: Request) -> Response:
    """The form; a link that is over says so."""
    return await _form(request, request.query_params.get("token", ""))


@router.post("/invitation")
async def accept_invitation(request: Request) -> Response:
    """Set the password and sign in; the link is used up."""
    fields = await read_fields(request)
    state, link = get_state(request), fields.get("token", "")
    async with state.database.read() as session:
        user = await find_invited(session, state.directory.digest, link)
    try:
        password = check_password(fields.get("password", ""), email=user.email)
    except Unprocessable as error:
        return await _form(request, link, error)
    password_hash = await hash_password(password)
    ip, agent = client_address(request), request.headers.get("user-agent", "")
    async with state.database.write() as session:
        user = await accept(
            session, state.directory.digest, link, password_hash=password_hash, ip=ip
        )
        begun = await start_session(session, user.id, ip=ip, user_agent=agent)
    return with_cookies(request, RedirectResponse("/", 303), begun)


async def _form(request: Request, link: str, error: Unprocessable | None = None) -> Response:
    state, token = get_state(request), form_token(request)
    async with state.database.read() as session:
        user = await find_invited(session, state.directory.digest, link)
    response = page(
        request, "invitation.html", status=error.status if error else 200,
        csrf_token=csrf.mask(token), token=link, email=user.email, name=user.name,
        has_password=user.password_hash is not None, error=error.message if error else "",
    )  # fmt: skip
    return with_form_cookie(request, response, token)
