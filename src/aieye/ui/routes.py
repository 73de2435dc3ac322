"""Routes: the aliases, where each sends, and the end of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Response

from aieye.access import routes
from aieye.access.snapshot import Snapshot
from aieye.db.cursors import number_after
from aieye.db.tables import Route
from aieye.ui.key_names import key_names
from aieye.ui.lists import PAGE, Cursor, next_cursor
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import changing
from aieye.ui.session import RequireAdministrator, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Hop:
    """One target as it is shown; `fault` says why no call can go there."""

    model: str
    provider: str
    key: str
    share: float | None
    fault: str


@dataclass(frozen=True, slots=True)
class ShownRoute:
    """An alias with its targets in order."""

    route: Route
    hops: Sequence[Hop]

    @property
    def id(self) -> int:
        return self.route.id

    @property
    def working(self) -> int:
        return sum(not hop.fault for hop in self.hops)


@router.get("/routes")
async def show_routes(visitor: RequireAdministrator, cursor: Cursor = None) -> Response:
    """All aliases, the oldest first."""
    async with visitor.state.database.read() as session:
        rows = await routes.list_routes(session, after=number_after(cursor), limit=PAGE + 1)
        names = await key_names(session, _key_ids(rows))
    snapshot = visitor.state.directory.current
    return page(
        visitor.request,
        "routes.html",
        rows=[ShownRoute(row, _hops(row, names, snapshot)) for row in rows[:PAGE]],
        next=next_cursor(rows),
        has_provider=any(not one.is_simulated for one in snapshot.providers.values()),
    )


@router.get("/routes/{route_id}/delete")
async def show_delete(route_id: int, visitor: RequireAdministrator) -> Response:
    """What the name means then."""
    return await _delete_page(visitor, route_id)


@router.post("/routes/{route_id}/delete")
async def delete(route_id: int, visitor: RequireAdministrator) -> Response:
    """Remove it, once its name was typed."""
    typed = (await visitor.fields()).text("confirm")
    async with changing(visitor.state) as session:
        route = await routes.get_route(session, route_id)
        if is_typed := typed == route.alias:
            await routes.delete_route(session, route_id, actor=visitor.actor)
    if not is_typed:
        return await _delete_page(visitor, route_id, "Type the alias as it stands above.")
    return go(visitor.request, "/routes", toast=f"The alias {route.alias} is deleted.")


def _key_ids(rows: Sequence[Route]) -> set[int]:
    return {target["key_id"] for row in rows for target in row.targets if target.get("key_id")}


def _hops(route: Route, names: Mapping[int, str], snapshot: Snapshot) -> list[Hop]:
    whole = sum(target.get("weight", 1) for target in route.targets) or 1
    hops = []
    for target in route.targets:
        key_id, provider = target.get("key_id"), snapshot.providers.get(target["provider"])
        if provider is None:
            fault = "there is no such provider"
        elif key_id is not None and key_id not in {key.id for key in provider.keys}:
            fault = "its key is deleted or not in use"
        else:
            fault = "" if provider.keys else "the provider has no key in use"
        share = target.get("weight", 1) / whole if route.strategy == "weighted" else None
        key = "" if key_id is None else names.get(key_id, "deleted key")
        hops.append(Hop(target["model"], target["provider"], key, share, fault))
    return hops


async def _delete_page(visitor: Visitor, route_id: int, error: str = "") -> Response:
    async with visitor.state.database.read() as session:
        route = await routes.get_route(session, route_id)
    default = visitor.state.directory.current.default
    return page(
        visitor.request, "route_delete.html", status=422 if error else 200, route=route,
        default=default.name if default else "", error=error,
    )  # fmt: skip
