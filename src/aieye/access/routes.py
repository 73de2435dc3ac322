"""Aliases, as administrators change them: a model name that stands for one or more targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, TypedDict

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.access.providers import require_provider
from aieye.access.texts import check_label
from aieye.db.engine import bump_revision
from aieye.db.rows import find_living, flush_unique, get_living, insert_unique, keyset
from aieye.db.tables import ProviderKey, Route
from aieye.errors import Unprocessable

Strategy = Literal["ordered", "weighted"]
STRATEGIES: tuple[Strategy, ...] = ("ordered", "weighted")
MOST_TARGETS = 20
LARGEST_WEIGHT = 1_000
# What these names stand for is decided by presets and pipelines, never by an alias.
KEPT_PREFIXES = ("preset/", "pipeline/")


class Target(TypedDict):
    """Where a route sends: a model at a provider, with one of its keys or any; 1 is the weight."""

    model: str
    provider: str
    key_id: NotRequired[int | None]
    weight: NotRequired[int]


class RouteChanges(TypedDict, total=False):
    """What of a route may be changed; what is left out stays."""

    alias: str
    strategy: str
    targets: Sequence[Target]


async def list_routes(
    session: AsyncSession, *, after: int | None = None, limit: int | None = None
) -> Sequence[Route]:
    """Routes in the order of their making, from behind the id `after`."""
    return (await session.scalars(keyset(select(Route), Route.id, after=after, limit=limit))).all()


async def get_route(session: AsyncSession, route_id: int) -> Route:
    """The route. Raises `NotFound`."""
    return await get_living(session, Route, route_id)


async def create_route(
    session: AsyncSession,
    *,
    alias: str,
    strategy: str = "ordered",
    targets: Sequence[Target],
    actor: Actor,
) -> Route:
    """Make an alias. Raises `Conflict` when it exists, `Unprocessable`."""
    # First, for the revision's row lets one change through at a time: no target goes meanwhile.
    await bump_revision(session)
    route = Route(
        alias=_checked_alias(alias),
        strategy=_checked_strategy(strategy),
        targets=await _checked_targets(session, targets),
    )
    await insert_unique(session, route, clash="This alias exists already.", param="alias")
    record(session, actor, "route.create", "route", route.id, **_described(route))
    return route


async def update_route(
    session: AsyncSession, route_id: int, changes: RouteChanges, *, actor: Actor
) -> Route:
    """Change what `changes` names. Raises `Conflict`, `NotFound`, `Unprocessable`."""
    await bump_revision(session)
    route = await get_route(session, route_id)
    if "strategy" in changes:
        route.strategy = _checked_strategy(changes["strategy"])
    if "targets" in changes:
        route.targets = await _checked_targets(session, changes["targets"])
    if "alias" in changes:
        route.alias = _checked_alias(changes["alias"])
    await flush_unique(session, clash="This alias exists already.", param="alias")
    record(session, actor, "route.update", "route", route.id, **_described(route))
    return route


async def delete_route(session: AsyncSession, route_id: int, *, actor: Actor) -> None:
    """Remove an alias for good. Raises `NotFound`."""
    route = await get_route(session, route_id)
    await session.delete(route)
    record(session, actor, "route.delete", "route", route_id, **_described(route))
    await bump_revision(session)


def _described(route: Route) -> dict[str, Any]:
    return {"alias": route.alias, "strategy": route.strategy, "targets": route.targets}


def _checked_alias(text: str) -> str:
    alias = check_label(text, longest=200, param="alias")
    if alias.startswith(KEPT_PREFIXES):
        raise Unprocessable(
            "An alias does not start with preset/ or pipeline/: those names are kept.",
            param="alias",
        )
    return alias


def _checked_strategy(strategy: str) -> str:
    if strategy not in STRATEGIES:
        raise Unprocessable("strategy should be ordered or weighted.", param="strategy")
    return strategy


async def _checked_targets(
    session: AsyncSession, targets: Sequence[Target]
) -> list[dict[str, Any]]:
    if not 1 <= len(targets) <= MOST_TARGETS:
        raise Unprocessable(f"A route has 1 to {MOST_TARGETS} targets.", param="targets")
    return [
        await _checked_target(session, target, f"targets.{index}")
        for index, target in enumerate(targets)
    ]


async def _checked_target(
    session: AsyncSession, target: Mapping[str, Any], param: str
) -> dict[str, Any]:
    provider = await require_provider(session, target["provider"], param=f"{param}.provider")
    weight, key_id = target.get("weight", 1), target.get("key_id")
    if not 1 <= weight <= LARGEST_WEIGHT:
        raise Unprocessable(f"weight should be 1 to {LARGEST_WEIGHT}.", param=f"{param}.weight")
    if key_id is not None:
        key = await find_living(session, ProviderKey, key_id)
        if key is None or key.provider_id != provider.id:
            raise Unprocessable("The provider has no such key.", param=f"{param}.key_id")
    model = check_label(target["model"], longest=200, param=f"{param}.model")
    return {"model": model, "provider": provider.name, "key_id": key_id, "weight": weight}
