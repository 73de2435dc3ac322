"""Settings: how this installation is set up and does, and administrators' own prices."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye import __version__
from aieye.access.config_file import read_config
from aieye.access.providers import find_provider
from aieye.access.texts import check_moment
from aieye.cache.browse import EntryFilters, measure
from aieye.db.rows import LARGEST_ID
from aieye.db.tables import CallBody, Instance, PriceOverride, Provider, ProviderKey
from aieye.errors import AieyeError, Unprocessable
from aieye.installation import database_bytes, find_faults, list_settings
from aieye.ledger import overrides
from aieye.ledger.periods import cut
from aieye.ledger.pricing import MAX_RATE
from aieye.ledger.queries import UsageFilters
from aieye.ledger.queries.period_sums import Question
from aieye.ledger.rollups import DAY, MINUTE, MINUTES_KEPT_SECONDS, cover, round_up
from aieye.settings import SettingsError
from aieye.state import change
from aieye.ui.fields import Fields
from aieye.ui.forms import errors_of, mistakes, no_errors
from aieye.ui.key_names import MASKED
from aieye.ui.pages import PageRoute, go, page
from aieye.ui.saving import (
    ChangedMeanwhile,
    changing,
    differences,
    require_version,
    version_of,
)
from aieye.ui.session import RequireAdministrator, Visitor
from aieye.ui.show import in_zone

router = APIRouter(route_class=PageRoute, include_in_schema=False)

MOST_PRICES = 200
MOST_UNPRICED = 10
_DAYS = 30
_FIELDS = ("model", "provider", *overrides.RATES, "effective_from")
PriceId = Annotated[int, Path(alias="id", ge=1, le=LARGEST_ID)]


@router.get("/settings")
async def show_settings(visitor: RequireAdministrator) -> Response:
    """Everything on one page, what needs looking at first."""
    state = visitor.state
    faults = await find_faults(state)
    async with state.database.read() as session:
        values: dict[str, Any] = {
            "prices": await overrides.list_overrides(session, limit=MOST_PRICES),
            "unpriced": await _unpriced(session, visitor),
            "keys": await _keys(session),
            "oldest_text": await _oldest_text(session),
            "instances": await _instances(session),
            "database_bytes": await database_bytes(session, state.database),
            "calls_kept": await _calls_kept(session, visitor),
            "cache_kept": await measure(session, EntryFilters()),
        }
    disk = shutil.disk_usage(state.settings.data_dir) if state.settings.data_dir.exists() else None
    return page(
        visitor.request, "settings.html", faults=faults, shown=list_settings(state.settings),
        settings=state.settings, is_sqlite=state.database.is_sqlite, started_at=state.started_at,
        disk=disk, config=_config(visitor), secret=_secret(visitor), pruned=_pruned(visitor),
        is_newest=state.cipher.is_newest,
        minutes_days=MINUTES_KEPT_SECONDS // DAY, service_version=__version__, rates=overrides.RATES,
        **values,
    )  # fmt: skip


@router.get("/settings/prices/new")
async def new_price(visitor: RequireAdministrator) -> Response:
    """An empty form, the model filled in where the address names one."""
    return await _form(visitor, {"model": visitor.here.get("model")[:200]})


@router.post("/settings/prices/new")
async def create_price(visitor: RequireAdministrator) -> Response:
    """Set a price."""
    fields = await visitor.fields()
    try:
        given = _read(visitor, fields)
        async with change(visitor.state) as session:
            await overrides.create_override(session, **given, actor=visitor.actor)
    except AieyeError as error:
        mistaken = await _mistakes(visitor, fields, is_new=True)
        return await _form(visitor, fields, error=error, mistaken=mistaken)
    return go(visitor.request, "/settings#prices", toast="The price was set.")


@router.get("/settings/prices/{id}")
async def show_price(visitor: RequireAdministrator, price_id: PriceId) -> Response:
    """A price, to change it."""
    async with visitor.state.database.read() as session:
        price = await overrides.get_override(session, price_id)
    return await _form(visitor, _stored(visitor, price), price=price)


@router.post("/settings/prices/{id}")
async def update_price(visitor: RequireAdministrator, price_id: PriceId) -> Response:
    """Change a price. Calls booked before keep theirs."""
    fields = await visitor.fields()
    try:
        given = _read(visitor, fields)
        _check_start(given["effective_from"])
        async with changing(visitor.state) as session:
            price = await overrides.get_override(session, price_id)
            require_version(price, fields)
            changes = overrides.PriceChanges(**given)  # type: ignore[typeddict-item] # has its fields
            await overrides.update_override(session, price_id, changes, actor=visitor.actor)
    except AieyeError as error:
        async with visitor.state.database.read() as session:
            price = await overrides.get_override(session, price_id)
        mistaken = await _mistakes(visitor, fields, is_new=False)
        return await _form(visitor, fields, price=price, error=error, mistaken=mistaken)
    return go(visitor.request, "/settings#prices", toast="The price was changed.")


@router.get("/settings/prices/{id}/delete")
async def ask_delete(visitor: RequireAdministrator, price_id: PriceId) -> Response:
    """What is lost with a price."""
    async with visitor.state.database.read() as session:
        price = await overrides.get_override(session, price_id)
    return page(visitor.request, "price_delete.html", price=price)


@router.post("/settings/prices/{id}/delete")
async def delete_price(visitor: RequireAdministrator, price_id: PriceId) -> Response:
    """Delete a price: the package's is in effect again."""
    async with change(visitor.state) as session:
        await overrides.delete_override(session, price_id, actor=visitor.actor)
    return go(visitor.request, "/settings#prices", toast="The price was deleted.")


def _read(visitor: Visitor, fields: Fields) -> dict[str, Any]:
    """The price that a form holds. Raises `Unprocessable`."""
    return {
        "model": fields.text("model"),
        "provider": fields.text("provider") or None,
        "rates": _rates(fields),
        "effective_from": _moment(visitor, fields.text("effective_from")),
    }


def _rates(fields: Fields) -> Mapping[str, str]:
    return {name: fields.text(name) for name in overrides.RATES if fields.text(name)}


def _moment(visitor: Visitor, text: str) -> datetime | None:
    """A moment as a form sends it, in the browser's zone; None for an empty one."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise Unprocessable(
            "This should be a time such as 2026-11-20T12:00.", param="effective_from"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=visitor.zone)
    return check_moment(moment, param="effective_from")


def _check_start(moment: datetime | None) -> None:
    if moment is None:
        raise Unprocessable("Say from when on it holds.", param="effective_from")


async def _mistakes(visitor: Visitor, fields: Fields, *, is_new: bool) -> Mapping[str, str]:
    """What is wrong with each field, where something is: all at once."""

    def check_start() -> None:
        moment = _moment(visitor, fields.text("effective_from"))
        if not is_new:
            _check_start(moment)

    rates = _rates(fields)
    parts = {name: {name: rate} for name, rate in rates.items()} or {overrides.RATES[0]: {}}
    found = mistakes({
        "model": lambda: overrides.check_model(fields.text("model")),
        "effective_from": check_start,
        **{name: partial(_check_rates, part) for name, part in parts.items()},
    })  # fmt: skip
    if provider := fields.text("provider"):
        async with visitor.state.database.read() as session:
            is_known = await find_provider(session, provider) is not None
        if not is_known:
            found = {**found, "provider": "Choose one of the list."}
    return found


def _check_rates(rates: Mapping[str, str]) -> None:
    """What a price has at least, or one rate of it, as the form has it. Raises `Unprocessable`."""
    try:
        overrides.check_rates(rates)
    except Unprocessable as error:
        raise _by_field(error) from error


def _stored(visitor: Visitor, price: PriceOverride) -> Mapping[str, str]:
    """The price as its form shows it."""
    moment = in_zone(price.effective_from, visitor.zone)
    return {
        "model": price.model, "provider": price.provider or "",
        "effective_from": f"{moment:%Y-%m-%dT%H:%M:%S}",
        **dict.fromkeys(overrides.RATES, ""), **price.rates,
    }  # fmt: skip


def _by_field(error: AieyeError) -> AieyeError:
    """The error at the form's own field: a rate is one field there, and a part of one in the API."""
    place = error.param or ""
    if place == "rates":
        return Unprocessable("A price has one rate at least.", param=overrides.RATES[0])
    if not place.startswith("rates."):
        return error
    said = (
        f"This should be dollars such as 2.5, at most {MAX_RATE:,} and with six decimals at most."
    )
    return Unprocessable(said, param=place.removeprefix("rates."))


async def _form(
    visitor: Visitor,
    typed: Mapping[str, str],
    *,
    price: PriceOverride | None = None,
    error: AieyeError | None = None,
    mistaken: Mapping[str, str] = MappingProxyType({}),
) -> Response:
    """The form, with what is wrong: the error, and which fields are `mistaken` by themselves."""
    errors: Mapping[str, str] = (
        errors_of(_by_field(error), *_FIELDS) if error else no_errors(*_FIELDS)
    )
    if mistaken and not isinstance(error, ChangedMeanwhile):
        errors = {**no_errors(*_FIELDS), "form": errors["form"], **mistaken}
    if isinstance(error, ChangedMeanwhile) and price is not None:
        errors = {**errors, **differences(_stored(visitor, price), typed)}
    async with visitor.state.database.read() as session:
        names = select(Provider.name).where(Provider.deleted_at.is_(None)).order_by(Provider.name)
        providers = (await session.scalars(names)).all()
    return page(
        visitor.request, "price_form.html", status=error.status if error else 200,
        price=price, typed=typed, providers=providers, rates=overrides.RATES, errors=errors,
        row_version=version_of(price) if price else "",
    )  # fmt: skip


async def _unpriced(session: AsyncSession, visitor: Visitor) -> Sequence[tuple[str, int]]:
    """Models called lately, with how many of the calls have no known cost, those with most first.

    What was simulated has no price, and so none that is missing: the sums leave it out.
    """
    if visitor.state.directory.is_demo:
        return ()
    moment = int(visitor.now.timestamp())
    this = cut(moment - _DAYS * 86_400, moment, now=moment)
    question = Question(session, visitor.state.periods, UsageFilters(), None, moment)
    share = await question.share(cover(this.since, this.until))
    unpriced = Counter(
        {str(name): sums.unpriced for name, sums in share.tops["model"].items() if name}
    )
    return (+unpriced).most_common(MOST_UNPRICED)


async def _calls_kept(session: AsyncSession, visitor: Visitor) -> int:
    """How many calls the ledger holds, from the sums of all days."""
    moment = int(visitor.now.timestamp())
    question = Question(session, visitor.state.periods, UsageFilters(), None, moment)
    return (await question.whole(cover(0, round_up(moment + 1, MINUTE)))).calls


async def _keys(session: AsyncSession) -> Sequence[Any]:
    """Providers' keys, the oldest first: those that were not replaced for longest."""
    statement = (
        select(ProviderKey.name, MASKED.label("masked"), ProviderKey.created_at, ProviderKey.is_active,
               ProviderKey.sealed,
               Provider.name.label("provider"))
        .join(Provider, Provider.id == ProviderKey.provider_id)
        .where(ProviderKey.deleted_at.is_(None), Provider.deleted_at.is_(None))
        .order_by(ProviderKey.created_at)
        .limit(50)
    )  # fmt: skip
    return (await session.execute(statement)).all()


async def _oldest_text(session: AsyncSession) -> datetime | None:
    """When the oldest call began whose text is kept: its id says it."""
    oldest = await session.scalar(select(func.min(CallBody.id)))
    try:
        return None if oldest is None else datetime.fromtimestamp(int(oldest[:12], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


async def _instances(session: AsyncSession) -> Sequence[Instance]:
    """The processes on this database, as far as they are noted, last heard of first."""
    statement = select(Instance).order_by(Instance.seen_at.desc()).limit(20)
    return (await session.scalars(statement)).all()


@dataclass(frozen=True, slots=True)
class _Secret:
    """The secret key that seals the others: its id, since when it is (None: nobody knows), and how
    many older ones are still there to open what they sealed."""

    key_id: str
    written_at: datetime | None
    older: int


def _secret(visitor: Visitor) -> _Secret:
    cipher, path = visitor.state.cipher, visitor.state.settings.key_file
    written_at = None
    if path is not None and path.exists():
        written_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return _Secret(cipher.key_id, written_at, cipher.count - 1)


def _pruned(visitor: Visitor) -> tuple[datetime, Sequence[tuple[str, int]]] | None:
    """When this process removed last what was past its time, and how much of what."""
    pruned = visitor.state.pruned
    if pruned is None:
        return None
    return pruned.at, [(name.replace("_", " "), n) for name, n in pruned.counts.items() if n]


def _config(visitor: Visitor) -> tuple[str, str]:
    """The state of the configuration file: what kind of news it is, and the words."""
    try:
        gpt3 = read_config(visitor.state.settings, visitor.state.cipher)
    except SettingsError as error:
        return "bad", error.message
    if gpt3 is None:
        return "off", "there is none, or it has no section gpt3."
    if gpt3.is_stale:
        return "warn", "Its key is sealed under an older secret key: seal it anew."
    return "good", f"It names a provider at {gpt3.base_url}."
