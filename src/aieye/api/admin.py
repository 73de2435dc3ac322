"""`/api/v1`: the administrators' API, one router for all its resources."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from aieye.api import (
    audit,
    cache,
    calls,
    executions,
    functions,
    keys,
    pipeline_calls,
    pipeline_checks,
    pipelines,
    prices,
    prompts,
    providers,
    routes,
    settings,
    tokens,
    usage,
    users,
)
from aieye.api.deps import PREFIX, strict_json
from aieye.api.schemas import error_answers

# On every one of these routes: no JSON, nobody known, not allowed, or a wrong field.
router = APIRouter(
    prefix=PREFIX,
    responses=error_answers(400, 401, 403, 422),
    dependencies=[Depends(strict_json)],
)
for resource in (
    users,
    tokens,
    providers,
    keys,
    routes,
    prices,
    functions,
    prompts,
    pipeline_checks,
    pipelines,
    pipeline_calls,
    executions,
    calls,
    usage,
    cache,
    settings,
    audit,
):
    router.include_router(resource.router)
