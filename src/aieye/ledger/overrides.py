"""Administrators' own prices. `aieye.ledger.pricing` has the rules by which one is chosen."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from aieye.access.audit import Actor, record
from aieye.access.providers import require_provider
from aieye.access.texts import check_label, check_moment
from aieye.db.engine import bump_revision
from aieye.db.rows import get_living, keyset
from aieye.db.tables import PriceOverride
from aieye.db.types import now
from aieye.errors import Unprocessable
from aieye.ledger import pricing

RATES = ("input", "cached_input", "cache_write", "output", "per_request")
# Six decimals of a dollar per million tokens are whole pico-dollars per token: nothing is rounded.
_RATE = re.compile(r"[0-9]{1,7}(\.[0-9]{1,6})?", re.ASCII)


class PriceChanges(TypedDict, total=False):
    """What of a price may be changed; what is left out stays, but `rates` are replaced whole."""

    provider: str | None
    model: str
    rates: Mapping[str, str]
    effective_from: datetime


async def list_overrides(
    session: AsyncSession,
    *,
    model: str | None = None,
    after: int | None = None,
    limit: int | None = None,
) -> Sequence[PriceOverride]:
    """Prices in the order of their making, from behind the id `after`; of one model if given."""
    statement = select(PriceOverride)
    if model is not None:
        statement = statement.where(PriceOverride.model == model)
    statement = keyset(statement, PriceOverride.id, after=after, limit=limit)
    return (await session.scalars(statement)).all()


async def get_override(session: AsyncSession, price_id: int) -> PriceOverride:
    """The price. Raises `NotFound`."""
    return await get_living(session, PriceOverride, price_id)


async def create_override(
    session: AsyncSession,
    *,
    model: str,
    rates: Mapping[str, str],
    provider: str | None = None,
    effective_from: datetime | None = None,
    actor: Actor,
) -> PriceOverride:
    """Set a price of `model` (a name, or the start of one and `*`), at one provider or at all.

    `rates` are decimal text: dollars per million tokens, and dollars for `per_request`. Calls that
    were booked before keep their price. Raises `Unprocessable`.
    """
    price = PriceOverride()
    changes = PriceChanges(
        provider=provider, model=model, rates=rates, effective_from=effective_from or now()
    )
    await _apply(session, price, changes)
    session.add(price)
    await session.flush()
    record(session, actor, "price.create", "price", price.id, **_described(price))
    await bump_revision(session)
    return price


async def update_override(
    session: AsyncSession, price_id: int, changes: PriceChanges, *, actor: Actor
) -> PriceOverride:
    """Change what `changes` names. Raises `NotFound`, `Unprocessable`."""
    price = await get_override(session, price_id)
    await _apply(session, price, changes)
    record(session, actor, "price.update", "price", price.id, **_described(price))
    await bump_revision(session)
    return price


async def delete_override(session: AsyncSession, price_id: int, *, actor: Actor) -> None:
    """Remove a price for good. Raises `NotFound`."""
    price = await get_override(session, price_id)
    await session.delete(price)
    record(session, actor, "price.delete", "price", price_id, **_described(price))
    await bump_revision(session)


def _described(price: PriceOverride) -> dict[str, Any]:
    return {
        "provider": price.provider,
        "model": price.model,
        "rates": price.rates,
        "effective_from": price.effective_from.isoformat(),
    }


async def _apply(session: AsyncSession, price: PriceOverride, changes: PriceChanges) -> None:
    # The look-up comes first: it would send a row to the database that is not complete yet.
    if "provider" in changes:
        await _check_provider(session, changes["provider"])
        price.provider = changes["provider"]
    if "model" in changes:
        price.model = check_model(changes["model"])
    if "rates" in changes:
        price.rates = check_rates(changes["rates"])
    if "effective_from" in changes:
        price.effective_from = check_moment(changes["effective_from"], param="effective_from")


async def _check_provider(session: AsyncSession, provider: str | None) -> None:
    if provider is not None:
        await require_provider(session, provider, param="provider")


def check_model(text: str) -> str:
    """The name of a model, or the start of one and `*`. Raises `Unprocessable`."""
    model = check_label(text, longest=200, param="model")
    if "*" in model[:-1]:
        raise Unprocessable("model should be a name, or the start of one and a `*`.", param="model")
    return model


def check_rates(rates: Mapping[str, str]) -> dict[str, str]:
    """One rate or more in one written form: no exponent, no zeros without meaning.

    Raises `Unprocessable`.
    """
    if not rates:
        raise Unprocessable("rates should have at least one.", param="rates")
    checked = {}
    for name, text in rates.items():
        if name not in RATES or _RATE.fullmatch(text) is None or Decimal(text) > pricing.MAX_RATE:
            raise Unprocessable(
                f"rates has {', '.join(RATES)}, each a decimal text in dollars such as 2.5, at "
                f"most {pricing.MAX_RATE:,} and with at most six decimals.",
                param=f"rates.{name}" if name in RATES else "rates",
            )
        checked[name] = f"{Decimal(text).normalize():f}"
    return checked
