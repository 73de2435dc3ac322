"""What a call's cost is made of, from the price it was booked at. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aieye.ledger.pricing.metered import Metered
from aieye.ledger.pricing.money import nano_of
from aieye.ledger.pricing.rates import Rates, priced_kinds

_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True, slots=True)
class PriceLine:
    """One kind of unit. `rate_pico` is pico-dollars a unit and None where the kind has no price."""

    kind: str
    unit: str
    count: int
    rate_pico: int | None
    cost_nano: int | None


def breakdown(price: Mapping[str, Any], usage: Metered) -> Sequence[PriceLine]:
    """The lines of a bill: `price` is a kept price, as `CompiledPrice.as_json` makes it."""
    rates = _rates(price, usage.input)
    lines = [_line(kind, "tokens", count, rate) for kind, count, rate in priced_kinds(usage, rates)]
    if price.get("request") is not None:
        lines.append(_line("request", "request", 1, price["request"]))
    extras = usage.extras
    if extras is not None:
        if extras.searches and price.get("search") is not None:
            lines.append(_line("search", "searches", extras.searches, price["search"]))
        if extras.characters and price.get("character") is not None:
            lines.append(_line("character", "characters", extras.characters, price["character"]))
        if extras.audio_ms and price.get("audio_hour") is not None:
            billed = max(extras.audio_ms, price.get("min_audio_ms") or 0)
            cost = nano_of(price["audio_hour"] * billed, _MS_PER_HOUR)
            rate = price["audio_hour"] // _MS_PER_HOUR
            lines.append(PriceLine("audio", "ms of audio", billed, rate, cost))
    return lines


def _line(kind: str, unit: str, count: int, rate: int | None) -> PriceLine:
    return PriceLine(kind, unit, count, rate, None if rate is None else nano_of(count * rate))


def _rates(price: Mapping[str, Any], tokens: int) -> Rates:
    """The rates of the highest tier below a number of input tokens."""
    found = price.get("rates", {})
    for tier in price.get("tiers", ()):
        if tokens > tier["above"]:
            found = tier["rates"]
    return Rates(**found)
