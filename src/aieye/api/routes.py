"""`/api/v1/routes`: aliases, each a model name that stands for one or more targets."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from aieye.access import routes
from aieye.access.routes import LARGEST_WEIGHT, MOST_TARGETS, Strategy
from aieye.api.deps import Changing, CurrentAdministrator, Reading
from aieye.api.paging import CurrentPaging, Page
from aieye.api.resources import resource_router
from aieye.api.schemas import (
    Deleted,
    Id,
    Label,
    PathId,
    View,
    WriteModel,
    answers,
    omittable,
    page_example,
)

router = resource_router("routes")

EXAMPLE = {
    "id": 1,
    "alias": "fast",
    "strategy": "ordered",
    "targets": [{"provider": "openai", "model": "gpt-4o-mini", "key_id": 3, "weight": 1}],
    "created_at": "2026-11-20T12:00:00Z",
    "updated_at": "2026-11-20T12:00:00Z",
}


class TargetWrite(WriteModel):
    """A model at a provider, with one of its keys or any."""

    provider: Label
    model: Label
    key_id: Id | None = None
    weight: Annotated[int, Field(ge=1, le=LARGEST_WEIGHT)] = 1


Targets = Annotated[list[TargetWrite], Field(min_length=1, max_length=MOST_TARGETS)]


class RouteCreate(WriteModel):
    """A new alias. `ordered` tries the targets in turn, `weighted` draws the first by weight."""

    alias: Label
    strategy: Strategy = "ordered"
    targets: Targets

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"alias": "fast", "targets": [{"provider": "openai", "model": "gpt-4o-mini"}]}
            ]
        }
    )


class RouteUpdate(WriteModel):
    """What of an alias is to change; `targets` replaces all of them."""

    alias: Label = omittable()
    strategy: Strategy = omittable()
    targets: Targets = omittable()

    model_config = ConfigDict(json_schema_extra={"examples": [{"strategy": "weighted"}]})


class TargetView(View):
    """A target as it is stored."""

    provider: str
    model: str
    key_id: int | None
    weight: int


class RouteView(View):
    """An alias with its targets."""

    id: int
    alias: str
    strategy: Strategy
    targets: list[TargetView]
    created_at: datetime
    updated_at: datetime


class RoutePage(Page[RouteView]):
    """A part of the list of aliases."""


@router.get(
    "", operation_id="routes_list", summary="List aliases",
    responses=answers(page_example(EXAMPLE)),
)  # fmt: skip
async def list_routes(
    _caller: CurrentAdministrator, session: Reading, page: CurrentPaging
) -> RoutePage:
    """The aliases, the oldest first."""
    rows = await routes.list_routes(session, after=page.after_id(), limit=page.fetch)
    return RoutePage.of(rows, page)


@router.post(
    "", operation_id="routes_create", summary="Make an alias", status_code=201,
    responses=answers(EXAMPLE, 409, status=201),
)  # fmt: skip
async def create_route(
    body: RouteCreate, caller: CurrentAdministrator, session: Changing
) -> RouteView:
    """Calls of a model of this name go to the targets from now on."""
    values = body.model_dump()
    return RouteView.model_validate(await routes.create_route(session, actor=caller, **values))


@router.get(
    "/{id}", operation_id="routes_get", summary="Get an alias", responses=answers(EXAMPLE, 404)
)
async def get_route(route_id: PathId, _caller: CurrentAdministrator, session: Reading) -> RouteView:
    """One alias."""
    return RouteView.model_validate(await routes.get_route(session, route_id))


@router.patch(
    "/{id}", operation_id="routes_update", summary="Change an alias",
    responses=answers(EXAMPLE, 404, 409),
)  # fmt: skip
async def update_route(
    route_id: PathId, body: RouteUpdate, caller: CurrentAdministrator, session: Changing
) -> RouteView:
    """What is left out stays as it is."""
    changes = routes.RouteChanges(**body.model_dump(exclude_unset=True))  # type: ignore[typeddict-item] # the model has the same fields
    return RouteView.model_validate(
        await routes.update_route(session, route_id, changes, actor=caller)
    )


@router.delete(
    "/{id}", operation_id="routes_delete", summary="Delete an alias",
    responses=answers({"id": 1, "deleted": True}, 404),
)  # fmt: skip
async def delete_route(
    route_id: PathId, caller: CurrentAdministrator, session: Changing
) -> Deleted:
    """The name then means what it would without the alias."""
    await routes.delete_route(session, route_id, actor=caller)
    return Deleted(id=route_id)
