"""`/api/v1`: the administrators' API, one router for all its resources."""

from __future__ import annotations

from fastapi import APIRouter

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
    preset_documents,
    presets,
    prices,
    prompts,
    providers,
    routes,
    settings,
    tokens,
    usage,
    users,
)

_RESOURCES = (
    users,
    tokens,
    providers,
    keys,
    routes,
    prices,
    functions,
    prompts,
    presets,
    preset_documents,
    pipeline_checks,
    pipelines,
    pipeline_calls,
    executions,
    calls,
    usage,
    cache,
    settings,
    audit,
)

router = APIRouter(routes=[route for resource in _RESOURCES for route in resource.router.routes])
