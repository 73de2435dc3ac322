"""Providers' keys: added, tested with one click, renamed, replaced, switched off, deleted; never shown."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import APIRouter, Response

from aieye.access import provider_keys, providers
from aieye.access.dependants import dependants_of_keys
from aieye.access.texts import check_label, check_provider_secret
from aieye.db.tables import ProviderKey
from aieye.errors import AieyeError
from aieye.gateway.probe import Probe, probe_key
from aieye.ui import show
from aieye.ui.forms import errors_of, mistakes, no_errors, retype
from aieye.ui.key_names import masked
from aieye.ui.pages import PageRoute, go, is_fragment, page
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_version,
    version_of,
)
from aieye.ui.session import RequireAdministrator, Visitor

router = APIRouter(route_class=PageRoute, include_in_schema=False)

FIELDS = ("name", "key", "is_active")
_SECRET = frozenset({"key"})


@router.get("/providers/{provider_id}/keys/new")
async def show_new(provider_id: int, visitor: RequireAdministrator) -> Response:
    """An empty form."""
    return await _new(visitor, provider_id, {})


@router.post("/providers/{provider_id}/keys/new")
async def add(provider_id: int, visitor: RequireAdministrator) -> Response:
    """Store a key, sealed."""
    fields = await visitor.fields()
    try:
        async with changing(visitor.state) as session:
            key = await provider_keys.add_key(
                session, visitor.state.cipher, provider_id=provider_id, name=fields.text("name"),
                secret=fields.text("key"), actor=visitor.actor,
            )  # fmt: skip
    except AieyeError as error:
        if error.status == 404:
            raise
        return await _new(visitor, provider_id, fields, error)
    return go(visitor.request, "/providers", toast=f"“{key.name}” was added. Test it now.")


@router.get("/providers/keys/{key_id}/edit")
async def show_edit(key_id: int, visitor: RequireAdministrator) -> Response:
    """The form as it is stored."""
    return await _edit(visitor, key_id)


@router.post("/providers/keys/{key_id}/edit")
async def save(key_id: int, visitor: RequireAdministrator) -> Response:
    """Rename it, switch it on or off; another secret replaces the stored one."""
    fields = await visitor.fields()
    try:
        async with changing(visitor.state) as session:
            key = await provider_keys.get_key(session, key_id)
            require_version(key, fields)
            if secret := fields.text("key"):
                await provider_keys.replace_key(
                    session, visitor.state.cipher, key_id=key_id, secret=secret,
                    actor=visitor.actor,
                )  # fmt: skip
            name, is_active = fields.text("name"), fields.is_on("is_active")
            if (name, is_active) != (key.name, key.is_active):
                await provider_keys.update_key(
                    session, key_id=key_id, name=name, is_active=is_active, actor=visitor.actor
                )
    except AieyeError as error:
        if error.status == 404:
            raise
        return await _edit(visitor, key_id, fields, error)
    return go(visitor.request, "/providers", toast=f"“{key.name}” was saved.")


@router.post("/providers/keys/{key_id}/test")
async def test(key_id: int, visitor: RequireAdministrator) -> Response:
    """Ask the provider for its models with the key, and say what came of it."""
    state = visitor.state
    found = await probe_key(
        state.database, state.cipher, state.gateway.client, key_id, actor=visitor.actor
    )
    if is_fragment(visitor.request):
        return page(visitor.request, "key_probe.html", block="probe", probe=found, said=said(found))
    is_well = found.result == "works"
    return go(visitor.request, "/providers", toast=said(found), kind="good" if is_well else "bad")


@router.get("/providers/keys/{key_id}/delete")
async def show_delete(key_id: int, visitor: RequireAdministrator) -> Response:
    """What stops working."""
    return await _delete_page(visitor, key_id)


@router.post("/providers/keys/{key_id}/delete")
async def delete(key_id: int, visitor: RequireAdministrator) -> Response:
    """Wipe it, once its name was typed."""
    typed = (await visitor.fields()).text("confirm")
    async with changing(visitor.state) as session:
        key = await provider_keys.get_key(session, key_id)
        if is_typed := typed == key.name:
            await provider_keys.delete_key(session, key_id=key_id, actor=visitor.actor)
    if not is_typed:
        return await _delete_page(visitor, key_id, "Type the key's name as it stands above.")
    return go(visitor.request, "/providers", toast=f"“{key.name}” is deleted, its secret wiped.")


def said(probe: Probe) -> str:
    """What came of a test, plainly, with the provider's words."""
    words = f": {probe.message}" if probe.message else "."
    if probe.result == "works":
        return f"Works: {show.plural(probe.models or 0, 'model')} in {show.duration(probe.latency_ms)}."
    if probe.result == "refused":
        return f"Refused ({probe.status}){words}"
    if probe.result == "unreachable":
        return f"Unreachable{words}"
    return f"Trouble ({probe.status}){words}"


async def _new(
    visitor: Visitor,
    provider_id: int,
    typed: Mapping[str, str],
    error: AieyeError | None = None,
) -> Response:
    async with visitor.state.database.read() as session:
        provider = await providers.get_provider(session, provider_id)
    return page(
        visitor.request, "key_new.html", status=error.status if error else 200,
        provider=provider, typed=dict.fromkeys(FIELDS, "") | dict(typed),
        errors=_errors(typed, error),
    )  # fmt: skip


def _errors(typed: Mapping[str, str], error: AieyeError | None) -> Mapping[str, str]:
    """What is wrong with each field, where one is: all at once."""
    if error is None:
        return no_errors(*FIELDS)
    name, key = typed.get("name", "").strip(), typed.get("key", "").strip()
    found = mistakes({
        "name": lambda: check_label(name, longest=100),
        "key": lambda: check_provider_secret(key) if key or error.param == "key" else key,
    })  # fmt: skip
    errors = errors_of(error, *FIELDS)
    if found and not isinstance(error, ChangedMeanwhile):
        errors = {**no_errors(*FIELDS), "form": errors["form"], **found}
    return retype(errors, typed, "key")


def _stored(key: ProviderKey) -> dict[str, str]:
    return {"name": key.name, "is_active": "on" if key.is_active else "", "key": ""}


async def _edit(
    visitor: Visitor,
    key_id: int,
    typed: Mapping[str, str] | None = None,
    error: AieyeError | None = None,
) -> Response:
    async with visitor.state.database.read() as session:
        key = await provider_keys.get_key(session, key_id)
        provider = await providers.get_provider(session, key.provider_id)
    errors = _errors(typed or {}, error)
    shown = _stored(key)
    if typed is not None:
        shown = {name: typed.get(name, "") for name in shown}
    if isinstance(error, ChangedMeanwhile) and typed is not None:
        errors = {**errors, **differences(_stored(key), typed, _SECRET)}
    return page(
        visitor.request, "key_edit.html", status=error.status if error else 200, key=key,
        masked=masked(key), provider=provider, typed=shown, errors=errors,
        row_version=version_of(key),
    )  # fmt: skip


async def _delete_page(visitor: Visitor, key_id: int, error: str = "") -> Response:
    async with visitor.state.database.read() as session:
        key = await provider_keys.get_key(session, key_id)
        provider = await providers.get_provider(session, key.provider_id)
        lost = await dependants_of_keys(session, [key_id])
        others = await providers.list_keys(session, provider_id=provider.id)
    return page(
        visitor.request, "key_delete.html", status=422 if error else 200, key=key,
        masked=masked(key), provider=provider, lost=lost, is_last=len(others) == 1, error=error,
        serves=visitor.state.directory.serves_without(provider.id),
    )  # fmt: skip
