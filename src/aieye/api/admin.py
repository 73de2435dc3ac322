"""`/api/v1`: the administrators' API, one router for all its resources."""

from __future__ import annotations

from fastapi import APIRouter

from aieye.api import keys, prices, providers, routes, tokens, users
from aieye.api.deps import PREFIX
from aieye.api.schemas import error_answers

# Whoever calls may be unknown, not allowed, or wrong in a field, on every one of these routes.
router = APIRouter(prefix=PREFIX, responses=error_answers(401, 403, 422))
for resource in (users, tokens, providers, keys, routes, prices):
    router.include_router(resource.router)
