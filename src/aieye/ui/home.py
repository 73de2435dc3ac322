"""The first page: who you are, where programs call, and what answers them."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import RedirectResponse

from aieye.access.owners import has_administrator
from aieye.ui.onboarding import find_first_steps
from aieye.ui.overview import page_values
from aieye.ui.pages import PageRoute, page
from aieye.ui.session import anyone, find_signed_in, get_state, require_user

router = APIRouter(route_class=PageRoute, include_in_schema=False, dependencies=[Depends(anyone)])


@router.get("/")
async def show_home(request: Request) -> Response:
    """Home, or the way there for whoever is not signed in."""
    state = get_state(request)
    signed_in = await find_signed_in(request)
    if signed_in is None:
        async with state.database.read() as session:
            if await has_administrator(session):
                return RedirectResponse("/login", 303)
        return page(request, "waiting.html")
    visitor = await require_user(request)
    return page(
        request,
        "overview.html",
        steps=await find_first_steps(visitor),
        provider=state.directory.current.default,
        **await page_values(visitor),
    )
