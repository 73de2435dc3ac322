"""Prompts, presets and pipelines are deleted with what depends on them in view, and for an hour that
can be undone: the row, its versions and labels stay, and its name comes back if it is still free."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response

from aieye.access.names import NameTaken
from aieye.errors import Conflict, Unprocessable
from aieye.ui.owned import OWNED, Owned, callers_of, require_own
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import changing
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def _add_pages(owned: Owned) -> None:
    @router.get(f"{owned.path}/{{key}}/delete")
    async def show_delete(key: str, visitor: RequireUser) -> Response:
        """What stops working without it."""
        return await _page(visitor, owned, key)

    @router.post(f"{owned.path}/{{key}}/delete")
    async def delete(key: str, visitor: RequireUser) -> Response:
        """Remove it; where pipelines call it, once its name was typed."""
        return await _delete(visitor, owned, key)


for _owned in OWNED.values():
    _add_pages(_owned)


async def _delete(visitor: Visitor, owned: Owned, key: str) -> Response:
    typed = (await visitor.fields()).text("confirm")
    async with changing(visitor.state) as session:
        thing = await owned.find(session, key, visitor.actor)
        require_own(thing, visitor.actor)
        callers = await callers_of(session, owned.kind, thing.id, visitor.actor)
        if is_meant := not callers or typed == thing.name:
            await owned.delete(session, thing, force=bool(callers), actor=visitor.actor)
    if not is_meant:
        return await _page(visitor, owned, key, "Type the name as it stands above.")
    return go(visitor.request, owned.path, toast=f"“{thing.name}” is deleted.", undo=thing.undo)


@router.post("/undo/{kind}/{row_id}")
async def undo(
    kind: Literal["prompt", "preset", "pipeline"], row_id: int, visitor: RequireUser
) -> Response:
    """Take a deletion of the last hour back."""
    owned = OWNED[kind]
    try:
        async with changing(visitor.state) as session:
            thing = await owned.restore(visitor.state, session, row_id, actor=visitor.actor)
    except NameTaken:
        said = "Something else has its name by now: rename that first, then undo this."
        return go(visitor.request, owned.path, toast=said, kind="bad")
    except (Conflict, Unprocessable) as error:
        return go(visitor.request, owned.path, toast=error.message, kind="bad")
    return go(visitor.request, thing.place, toast=f"“{thing.name}” is back.")


async def _page(visitor: Visitor, owned: Owned, key: str, error: str = "") -> Response:
    async with visitor.state.database.read() as session:
        thing = await owned.find(session, key, visitor.actor)
        require_own(thing, visitor.actor)
        callers = await callers_of(session, owned.kind, thing.id, visitor.actor)
    return page(
        visitor.request, "delete.html", status=422 if error else 200,
        thing=thing, callers=callers, error=error,
    )  # fmt: skip
