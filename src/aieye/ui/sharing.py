"""The switch that lets everybody use a prompt, a preset or a pipeline, or its owner alone again."""

from __future__ import annotations

from fastapi import APIRouter, Response

from aieye.access.uses import InUse
from aieye.ui.owned import OWNED, Owned, callers_of, require_own
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import changing
from aieye.ui.session import RequireUser, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def _add_pages(owned: Owned) -> None:
    @router.get(f"{owned.path}/{{key}}/sharing")
    async def show_sharing(key: str, visitor: RequireUser) -> Response:
        """What it means that it is shared, or would be, and the switch."""
        return await _page(visitor, owned, key)

    @router.post(f"{owned.path}/{{key}}/sharing")
    async def share(key: str, visitor: RequireUser) -> Response:
        """Set the switch as the button said; off while others use it only when that was said."""
        return await _share(visitor, owned, key)


for _owned in OWNED.values():
    _add_pages(_owned)


async def _share(visitor: Visitor, owned: Owned, key: str) -> Response:
    fields = await visitor.fields()
    is_on = fields.get("to") == "on"
    try:
        async with changing(visitor.state) as session:
            thing = await owned.find(session, key, visitor.actor)
            require_own(thing, visitor.actor)
            await owned.share(
                visitor.state, session, thing, is_on,
                force=fields.is_on("force"), actor=visitor.actor,
            )  # fmt: skip
    except InUse:
        return await _page(visitor, owned, key, is_refused=True)
    said = "is shared: everybody may use it" if is_on else "is yours alone again"
    if not is_on and thing.user_id != visitor.user_id:
        said = "is its owner's alone again"
    return go(visitor.request, thing.place, toast=f"“{thing.name}” {said}.")


async def _page(visitor: Visitor, owned: Owned, key: str, *, is_refused: bool = False) -> Response:
    async with visitor.state.database.read() as session:
        thing = await owned.find(session, key, visitor.actor)
        require_own(thing, visitor.actor)
        callers = await callers_of(
            session, owned.kind, thing.id, visitor.actor, beside=thing.user_id
        )
    return page(
        visitor.request, "sharing.html", status=409 if is_refused else 200,
        thing=thing, callers=callers, is_refused=is_refused,
    )  # fmt: skip
