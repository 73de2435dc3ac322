"""The search of everything: a page, and what the dialog shows that opens on Ctrl+K."""

from __future__ import annotations

from fastapi import APIRouter, Response

from aieye.ui.finding import LONGEST, Group, find, find_pages
from aieye.ui.pages import PageRoute, is_fragment, page
from aieye.ui.recent import opened
from aieye.ui.session import RequireUser

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/search")
async def show_search(visitor: RequireUser) -> Response:
    """What is called like `?q=`; without it what was opened last, and the pages."""
    text = "".join(char for char in visitor.here.get("q").strip()[:LONGEST] if char.isprintable())
    async with visitor.state.database.read() as session:
        if text:
            groups = await find(session, visitor, text)
        else:
            recent = await opened(session, visitor)
            groups = [Group("Opened last", recent), Group("Pages", find_pages(visitor))]
    return page(
        visitor.request,
        "search.html",
        text=text,
        groups=[group for group in groups if group.hits],
        count=sum(len(group.hits) for group in groups),
        in_dialog=is_fragment(visitor.request),
    )
