"""The form of an alias: its targets in order, added, moved and taken out without scripts too.

Each target is a row of fields that repeat. A button other than Save sends the form back with its
rows changed and stores nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import routes
from aieye.access.routes import LARGEST_WEIGHT, MOST_TARGETS
from aieye.db.tables import Provider, ProviderKey, Route
from aieye.errors import AieyeError, Unprocessable
from aieye.ui.fields import Fields
from aieye.ui.forms import errors_of, no_errors
from aieye.ui.key_names import WITH_PROVIDER
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_version,
    version_of,
)
from aieye.ui.session import RequireAdministrator, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

STRATEGIES = (
    ("ordered", "in order: the next one when the one before cannot answer"),
    ("weighted", "by weight: shared out, the others when it cannot answer"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """A target as the form has it; `place` is `provider` or `provider:key id`."""

    model: str = ""
    place: str = ""
    weight: str = "1"

    def __str__(self) -> str:
        return f"{self.model} at {self.place} × {self.weight}"


@router.get("/routes/new")
async def show_new(visitor: RequireAdministrator) -> Response:
    """An empty form with one target."""
    return await _form(visitor, None, {"strategy": "ordered"}, [Row()])


@router.post("/routes/new")
async def create(visitor: RequireAdministrator) -> Response:
    """Make the alias, or change the form's rows."""
    fields = await visitor.fields()
    rows = read_rows(fields)
    if (act := fields.get("act", "save")) != "save":
        return await _form(visitor, None, fields, rearranged(rows, act))
    try:
        async with changing(visitor.state) as session:
            await routes.create_route(session, actor=visitor.actor, **_values(fields, rows))
    except AieyeError as error:
        return await _form(visitor, None, fields, rows, error)
    return go(visitor.request, "/routes", toast=f"{fields.text('alias')} can be called now.")


@router.get("/routes/{route_id}/edit")
async def show_edit(route_id: int, visitor: RequireAdministrator) -> Response:
    """The form as it is stored."""
    async with visitor.state.database.read() as session:
        route = await routes.get_route(session, route_id)
    return await _form(
        visitor, route, {"alias": route.alias, "strategy": route.strategy}, stored_rows(route)
    )


@router.post("/routes/{route_id}/edit")
async def save(route_id: int, visitor: RequireAdministrator) -> Response:
    """Change the alias, or the form's rows."""
    fields = await visitor.fields()
    rows = read_rows(fields)
    async with visitor.state.database.read() as session:
        route = await routes.get_route(session, route_id)
    if (act := fields.get("act", "save")) != "save":
        return await _form(visitor, route, fields, rearranged(rows, act))
    try:
        async with changing(visitor.state) as session:
            require_version(await routes.get_route(session, route_id), fields)
            changes: Any = _values(fields, rows)
            await routes.update_route(session, route_id, changes, actor=visitor.actor)
    except AieyeError as error:
        if error.status == 404:
            raise
        return await _form(visitor, route, fields, rows, error)
    return go(visitor.request, "/routes", toast=f"{fields.text('alias')} was saved.")


def read_rows(fields: Fields) -> list[Row]:
    """The targets as they were typed, at most one more than may be stored."""
    columns = (fields.all("model"), fields.all("place"), fields.all("weight"))
    rows = [
        Row(model.strip(), place, weight.strip())
        for model, place, weight in zip(*columns, strict=False)
    ]
    return rows[: MOST_TARGETS + 1] or [Row()]


def stored_rows(route: Route) -> list[Row]:
    """The targets as the form shows them."""
    return [
        Row(
            target["model"],
            target["provider"] if target.get("key_id") is None
            else f"{target['provider']}:{target['key_id']}",
            str(target.get("weight", 1)),
        )
        for target in route.targets
    ]  # fmt: skip


def rearranged(rows: Sequence[Row], act: str) -> list[Row]:
    """The rows after `add`, `up:N`, `down:N` or `remove:N` (N from 0); others change nothing."""
    changed = list(rows)
    verb, _, place = act.partition(":")
    number = int(place) if place.isascii() and place.isdigit() and len(place) < 4 else -1
    if verb == "add" and len(changed) < MOST_TARGETS:
        changed.append(Row(changed[-1].model if changed else "", "", "1"))
    elif verb == "remove" and 0 <= number < len(changed) > 1:
        del changed[number]
    elif verb in {"up", "down"}:
        other = number + (1 if verb == "down" else -1)
        if min(number, other) >= 0 and max(number, other) < len(changed):
            changed[number], changed[other] = changed[other], changed[number]
    return changed


def _values(fields: Fields, rows: Sequence[Row]) -> dict[str, Any]:
    """What is stored. Raises `Unprocessable` with the row's field."""
    targets = []
    for number, row in enumerate(rows):
        provider, _, key = row.place.partition(":")
        if not row.weight.isascii() or not row.weight.isdigit() or len(row.weight) > 6:
            raise Unprocessable(
                f"A whole number, 1 to {LARGEST_WEIGHT}.", param=f"targets.{number}.weight"
            )
        is_key = key.isascii() and key.isdigit() and len(key) < 11
        target = {"model": row.model, "provider": provider, "weight": int(row.weight)}
        targets.append(target | ({"key_id": int(key)} if is_key else {}))
    return {"alias": fields.text("alias"), "strategy": fields.text("strategy"), "targets": targets}


async def _form(
    visitor: Visitor,
    route: Route | None,
    typed: Mapping[str, str],
    rows: Sequence[Row],
    error: AieyeError | None = None,
) -> Response:
    errors = _errors(error, len(rows))
    async with visitor.state.database.read() as session:
        if isinstance(error, ChangedMeanwhile) and route is not None:
            route = await routes.get_route(session, route.id)
            errors = {**errors, **_stored_meanwhile(route, typed, rows)}
        options = await _options(session)
    return page(
        visitor.request,
        "route_form.html",
        status=error.status if error else 200,
        route=route,
        typed={"alias": "", "strategy": "ordered"} | dict(typed),
        rows=rows,
        options=options,
        strategies=STRATEGIES,
        errors=errors,
        most=MOST_TARGETS,
        row_version=version_of(route) if route else "",
    )


def _errors(error: AieyeError | None, count: int) -> Mapping[str, str]:
    """What is said under each field of a form with that many rows."""
    columns = ("model", "place", "weight")
    places = [f"targets.{number}.{name}" for number in range(count) for name in columns]
    names = ("alias", "strategy", "targets", *places)
    return errors_of(_placed(error), *names) if error else no_errors(*names)


def _stored_meanwhile(
    route: Route, typed: Mapping[str, str], rows: Sequence[Row]
) -> Mapping[str, str]:
    """Under each field that somebody else changed, what they stored there."""
    changed = differences({"alias": route.alias, "strategy": route.strategy}, typed)
    kept = stored_rows(route)
    if kept == list(rows):
        return changed
    said = "; ".join(f"{number}. {row}" for number, row in enumerate(kept, 1))
    return {**changed, "targets": f"Stored now: {said}"}


async def _options(session: AsyncSession) -> Mapping[str, str]:
    """Where a target can be, as a row's `place` has it: at a provider, or with one key of it."""
    found = await session.execute(
        select(Provider.name, ProviderKey.id, WITH_PROVIDER)
        .outerjoin(
            ProviderKey,
            (ProviderKey.provider_id == Provider.id) & ProviderKey.deleted_at.is_(None),
        )
        .where(Provider.deleted_at.is_(None))
        .order_by(Provider.id, ProviderKey.id)
    )
    options: dict[str, str] = {}
    for name, key_id, key_name in found:
        options.setdefault(name, f"{name}, any key")
        if key_id is not None:
            options[f"{name}:{key_id}"] = key_name
    return options


def _placed(error: AieyeError) -> AieyeError:
    """The error under the field that the form has: provider and key are one."""
    if error.param and error.param.endswith((".provider", ".key_id")):
        error.param = f"{error.param.rpartition('.')[0]}.place"
    return error
