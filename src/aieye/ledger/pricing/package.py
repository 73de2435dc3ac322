"""The prices that the package genai-prices keeps, dated and offline: which one holds when. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING

from aieye.ledger.pricing.compiled import CompiledPrice
from aieye.ledger.pricing.package_units import Prices, compile_price

if TYPE_CHECKING:
    from genai_prices.types import (
        ModelInfo,
        Provider,
        StartDateConstraint,
        TimeOfDateConstraint,
    )


@dataclass(frozen=True, slots=True)
class Package:
    """What is used of genai-prices: its data and which of it a provider's address means."""

    providers: list[Provider]
    patterns: list[tuple[re.Pattern[str], Provider]]
    dated: type[StartDateConstraint]
    daily: type[TimeOfDateConstraint]
    source: str

    def find_provider(self, name: str, origin: str) -> Provider | None:
        """Return the provider at an origin, else the one whose id is exactly the name."""
        address = origin.strip().lower().rstrip("/")
        for pattern, provider in self.patterns:
            match = pattern.match(address)
            # The patterns have no end: `api.openai.com` must not match `api.openai.com.evil.net`.
            if match and (match[0][-1:] in "/." or address[match.end() :][:1] in ("", "/", ":")):
                return provider
        return next((p for p in self.providers if p.id == name), None)


@cache
def load_package() -> Package:
    """Load the package's prices: from its own files, never from the network.

    The package's own look-up is passed by: it keeps every model name it ever found.
    """
    import genai_prices  # noqa: PLC0415 - see above
    from genai_prices.data import providers  # noqa: PLC0415
    from genai_prices.types import (  # noqa: PLC0415
        StartDateConstraint,
        TimeOfDateConstraint,
    )

    return Package(
        providers=providers,
        patterns=[(re.compile(p.api_pattern), p) for p in providers],
        dated=StartDateConstraint,
        daily=TimeOfDateConstraint,
        source=f"genai-prices {genai_prices.__version__}",
    )


def package_price(
    name: str, origin: str, model_ref: str, at: datetime, service_tier: str | None
) -> tuple[CompiledPrice | None, list[datetime]]:
    """Return the package's price, and the times around `at` when it may be another."""
    package = load_package()
    provider = package.find_provider(name, origin)
    if provider is None:
        return None, []
    model = provider.find_model(model_ref, all_providers=package.providers)
    if model is None:
        return None, []
    prices, effective_from = prices_at(provider, model, at, service_tier)
    price = compile_price(provider.id, model.id, prices, effective_from, package.source)
    return price, list(_changes_around(model, at))


def prices_at(
    provider: Provider, model: ModelInfo, at: datetime, service_tier: str | None
) -> tuple[Prices, datetime | None]:
    """Return a model's prices by key and, if they are dated, since when they hold.

    The rules are the package's: the last price whose condition holds, else the first; then, for
    the provider's own models, the first variant of the tier that has the key.
    """
    since: datetime | None = None
    standard = model.prices
    if isinstance(standard, list):
        conditional = next(
            (c for c in reversed(standard) if c.constraint is None or c.constraint.active(at)),
            standard[0],
        )
        if isinstance(conditional.constraint, load_package().dated):
            since = _midnight(conditional.constraint.start_date)
        standard = conditional.prices
    prices = _stated(standard)
    if service_tier is not None and any(own is model for own in provider.models):
        overrides: Prices = {}
        for variant in model.price_variants or ():
            active = variant.constraint is None or variant.constraint.active(at)
            if active and variant.when == {"service_tier": service_tier}:
                overrides = _stated(variant.prices) | overrides
        prices |= overrides
    return prices, since


def _stated(prices: object) -> Prices:
    """Return the prices that a `ModelPrice` states; it keeps them as plain attributes."""
    return {key: value for key, value in vars(prices).items() if value is not None}


def _changes_around(model: ModelInfo, at: datetime) -> Iterator[datetime]:
    """Yield the nearest times, before and after, when another of a model's prices may hold."""
    package = load_package()
    conditions = [c.constraint for c in model.prices] if isinstance(model.prices, list) else []
    conditions += [v.constraint for v in model.price_variants or ()]
    for condition in conditions:
        if isinstance(condition, package.dated):
            yield _midnight(condition.start_date)
        elif isinstance(condition, package.daily):
            for day in (at.date() + timedelta(days=days) for days in (-1, 0, 1)):
                for moment in (condition.start_time, condition.end_time):
                    yield datetime.combine(day, moment, moment.tzinfo or UTC)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
