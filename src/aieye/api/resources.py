"""The routers of `/api/v1`: what every route of it has, whatever resource it is about."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from aieye.api.deps import PREFIX, strict_json
from aieye.api.schemas import error_answers
from aieye.late_route import LateRoute


def resource_router(name: str) -> APIRouter:
    """A router for what lies below `/api/v1/NAME`.

    Its routes are whole, and are served as they are: FastAPI builds a route that it includes a
    second time, which was a tenth of the start and five megabytes.
    """
    return APIRouter(
        prefix=f"{PREFIX}/{name}",
        route_class=LateRoute,
        tags=[name],
        # On every one of them: no JSON, nobody known, not allowed, or a wrong field.
        responses=error_answers(400, 401, 403, 422),
        dependencies=[Depends(strict_json)],
    )
