"""Providers: where calls go, how their keys are doing, and the acts that change either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access import providers
from aieye.access.defaults import find_default
from aieye.access.dependants import aliases_of_provider, dependants_of_keys
from aieye.access.environment import OPENAI_BASE_URL
from aieye.access.snapshot import DEMO_ID, OPENAI_PROVIDER, ProviderInfo
from aieye.access.texts import check_label, check_provider_secret
from aieye.db.tables import Provider, ProviderKey
from aieye.errors import AieyeError
from aieye.gateway.circuits import Health
from aieye.ledger.queries.holders import NEWEST, KeyUse, keys_lately
from aieye.ledger.queries.period_sums import Amounts
from aieye.ui import show
from aieye.ui.fields import Fields
from aieye.ui.forms import errors_of, mistakes, no_errors, retype
from aieye.ui.key_names import masked
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_version,
    version_of,
)
from aieye.ui.session import RequireAdministrator, Visitor
from aieye.ui.uses import find_uses

router = APIRouter(route_class=PageRoute, include_in_schema=False)

RANGE = "30d"
NEW_FIELDS = ("name", "base_url", "key_name", "key")
EDIT_FIELDS = ("base_url", "key")

KeyState = Literal["good", "warn", "bad", "off"]


@dataclass(frozen=True, slots=True)
class ShownKey:
    """A key as the page shows it: never more of its secret than its end."""

    key: ProviderKey
    state: KeyState
    word: str
    why: str
    use: KeyUse | None

    @property
    def masked(self) -> str:
        return masked(self.key)


@dataclass(frozen=True, slots=True)
class ShownProvider:
    """A provider with its keys; `row` is None for the simulated one.

    `is_next` is said of the one that would be the default if the server did not run with `--demo`.
    """

    row: Provider | None
    name: str
    base_url: str
    is_default: bool
    is_next: bool
    use: Amounts
    keys: Sequence[ShownKey]


@router.get("/providers")
async def show_providers(visitor: RequireAdministrator) -> Response:
    """All providers with their keys, the oldest first."""
    period, state = visitor.range(RANGE), visitor.state
    snapshot = state.directory.current
    async with state.database.read() as session:
        rows = await providers.list_providers(session)
        keys = await providers.list_keys(session)
        uses = (await find_uses(session, visitor, period)).tops["provider"]
        lately = await keys_lately(session)
        next_id = await _next_default_id(session, visitor)
    default_id = snapshot.default.id if snapshot.default else None
    shown = [
        ShownProvider(
            row, row.name, row.base_url, row.id == default_id,
            row.id == next_id, uses[row.id],
            [_shown_key(visitor, key, lately.get(key.id)) for key in keys if key.provider_id == row.id],
        )
        for row in rows
    ]  # fmt: skip
    demo: ProviderInfo | None = snapshot.providers_by_id.get(DEMO_ID)
    if demo is not None:
        use = uses[DEMO_ID]
        is_default = default_id == DEMO_ID
        shown.append(ShownProvider(None, demo.name, demo.base_url, is_default, False, use, ()))
    return page(visitor.request, "providers.html", period=period, providers=shown, newest=NEWEST)


@router.get("/providers/new")
async def show_new(visitor: RequireAdministrator) -> Response:
    """An empty form; the first provider is OpenAI unless something else is typed."""
    first = {} if _has_provider(visitor) else {"name": OPENAI_PROVIDER, "base_url": OPENAI_BASE_URL}
    return _new(visitor, {"key_name": "default"} | first)


@router.post("/providers/new")
async def create(visitor: RequireAdministrator) -> Response:
    """Add a provider, with its first key if one was given."""
    fields = await visitor.fields()
    try:
        async with changing(visitor.state) as session:
            provider = await providers.create_provider(
                session,
                name=fields.text("name"),
                base_url=fields.text("base_url"),
                actor=visitor.actor,
            )
            if secret := fields.text("key"):
                await providers.add_key(
                    session, visitor.state.cipher, provider_id=provider.id,
                    name=fields.text("key_name") or "default", secret=secret, actor=visitor.actor,
                )  # fmt: skip
    except AieyeError as error:
        return _new(visitor, fields, error, await _mistakes(visitor, fields))
    said = "Test its key now." if secret else "It needs a key before it can be called."
    return go(visitor.request, "/providers", toast=f"{provider.name} was added. {said}")


@router.get("/providers/{provider_id}/edit")
async def show_edit(provider_id: int, visitor: RequireAdministrator) -> Response:
    """The form as it is stored."""
    return await _edit(visitor, provider_id)


@router.post("/providers/{provider_id}/edit")
async def save(provider_id: int, visitor: RequireAdministrator) -> Response:
    """Send its calls elsewhere; the keys there are wiped."""
    fields = await visitor.fields()
    try:
        async with changing(visitor.state) as session:
            provider = await providers.get_provider(session, provider_id)
            require_version(provider, fields)
            await providers.change_base_url(
                session, visitor.state.cipher, provider_id=provider_id,
                base_url=fields.text("base_url"), secret=fields.text("key") or None,
                actor=visitor.actor,
            )  # fmt: skip
    except AieyeError as error:
        if error.status == 404:
            raise
        return await _edit(visitor, provider_id, fields, error)
    return go(visitor.request, "/providers", toast=f"{provider.name} was saved.")


@router.post("/providers/{provider_id}/default")
async def mark_default(provider_id: int, visitor: RequireAdministrator) -> Response:
    """Make it the one that models go to which name no provider."""
    async with changing(visitor.state) as session:
        provider = await providers.mark_default(
            session, provider_id=provider_id, actor=visitor.actor
        )
    is_later = visitor.state.directory.is_demo_forced
    when = "from when the server runs without --demo" if is_later else "now"
    return go(visitor.request, "/providers", toast=f"{provider.name} is the default {when}.")


@router.get("/providers/{provider_id}/delete")
async def show_delete(provider_id: int, visitor: RequireAdministrator) -> Response:
    """What stops working."""
    return await _delete_page(visitor, provider_id)


@router.post("/providers/{provider_id}/delete")
async def delete(provider_id: int, visitor: RequireAdministrator) -> Response:
    """Remove it and wipe its keys, once its name was typed."""
    typed = (await visitor.fields()).text("confirm")
    async with visitor.state.database.read() as session:
        provider = await providers.get_provider(session, provider_id)
    if typed != provider.name:
        return await _delete_page(visitor, provider_id, "Type the name as it stands above.")
    try:
        async with changing(visitor.state) as session:
            await providers.delete_provider(session, provider_id=provider_id, actor=visitor.actor)
    except providers.ProviderInUse as error:
        return await _delete_page(visitor, provider_id, error.message, error.status)
    return go(visitor.request, "/providers", toast=f"{provider.name} is deleted.")


def _has_provider(visitor: Visitor) -> bool:
    known = visitor.state.directory.current.providers.values()
    return any(not one.is_simulated for one in known)


async def _next_default_id(session: AsyncSession, visitor: Visitor) -> int | None:
    """The provider that `--demo` keeps from being the default, if it could be that."""
    directory = visitor.state.directory
    if not directory.is_demo_forced or directory.is_keyless:
        return None
    found = await find_default(session)
    return None if found is None else found.id


def _shown_key(visitor: Visitor, key: ProviderKey, use: KeyUse | None) -> ShownKey:
    state, word, why = _key_state(visitor, key)
    return ShownKey(key, state, word, why, use)


def _key_state(visitor: Visitor, key: ProviderKey) -> tuple[KeyState, str, str]:
    """How a key is doing: a colour, a word, and what it means."""
    if not key.is_active:
        return "off", "disabled", "No call uses it."
    info = visitor.state.directory.current.keys.get(key.id)
    if info is None:
        return "bad", "cannot be opened", "It was stored under another secret key: enter it again."
    health: Health = visitor.state.gateway.circuits.health(info)
    if health.open_seconds is not None:
        left = _seconds(health.open_seconds)
        return (
            "bad",
            "left alone",
            f"It failed {health.failures} times in a row; tried again in {left}.",
        )
    if health.rests:
        models = ", ".join(sorted(model or "all models" for model, _ in health.rests)[:3])
        left = _seconds(max(seconds for _, seconds in health.rests))
        return "warn", "resting", f"Others are asked first for {models}, for {left}."
    return "good", "in use", ""


def _seconds(left: float) -> str:
    return show.plural(max(1, round(left)), "second")


async def _mistakes(visitor: Visitor, fields: Fields) -> Mapping[str, str]:
    name, key = fields.text("name"), fields.text("key")
    checks: dict[str, Callable[[], object]] = {
        "name": lambda: providers.check_provider_name(name),
        "base_url": lambda: providers.check_base_url(fields.text("base_url")),
    }
    if key:
        label = fields.text("key_name") or "default"
        checks["key"] = lambda: check_provider_secret(key)
        checks["key_name"] = lambda: check_label(label, longest=100, param="key_name")
    found = mistakes(checks)
    async with visitor.state.database.read() as session:
        is_taken = "name" not in found and await providers.find_provider(session, name)
    return {**found, "name": providers.name_taken(name)} if is_taken else found


def _new(
    visitor: Visitor,
    typed: Mapping[str, str],
    error: AieyeError | None = None,
    mistaken: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """The form, with what is wrong: the error, and which fields are `mistaken` by themselves."""
    errors = _errors(NEW_FIELDS, error)
    if mistaken:
        errors = {**no_errors(*NEW_FIELDS), "form": errors["form"], **mistaken}
    return page(
        visitor.request,
        "provider_new.html",
        status=error.status if error else 200,
        typed=dict.fromkeys(NEW_FIELDS, "") | dict(typed),
        errors=retype(errors, typed, "key") if error else errors,
    )


def _errors(names: Sequence[str], error: AieyeError | None) -> Mapping[str, str]:
    return errors_of(error, *names) if error else no_errors(*names)


async def _edit(
    visitor: Visitor,
    provider_id: int,
    typed: Mapping[str, str] | None = None,
    error: AieyeError | None = None,
) -> Response:
    async with visitor.state.database.read() as session:
        provider = await providers.get_provider(session, provider_id)
        keys = await providers.list_keys(session, provider_id=provider_id)
    stored = {"base_url": provider.base_url}
    errors = retype(_errors(EDIT_FIELDS, error), typed or {}, "key")
    if isinstance(error, ChangedMeanwhile) and typed is not None:
        errors = {**errors, **differences(stored, typed)}
    default = visitor.state.directory.current.default
    return page(
        visitor.request, "provider_edit.html", status=error.status if error else 200,
        provider=provider, key_count=len(keys), typed=stored | dict(typed or {}), errors=errors,
        row_version=version_of(provider),
        is_default=default is not None and default.id == provider.id,
    )  # fmt: skip


async def _delete_page(
    visitor: Visitor, provider_id: int, error: str = "", status: int = 422
) -> Response:
    async with visitor.state.database.read() as session:
        provider = await providers.get_provider(session, provider_id)
        keys, dependants, aliases = await _lost(session, provider)
    return page(
        visitor.request, "provider_delete.html", status=status if error else 200,
        provider=provider, keys=keys, tokens=dependants, aliases=aliases, error=error,
        serves=visitor.state.directory.serves_without(provider.id),
    )  # fmt: skip


async def _lost(
    session: AsyncSession, provider: Provider
) -> tuple[Sequence[ProviderKey], Sequence[str], Sequence[str]]:
    keys = await providers.list_keys(session, provider_id=provider.id)
    dependants = await dependants_of_keys(session, [key.id for key in keys])
    return keys, dependants.tokens, await aliases_of_provider(session, provider.name)
