"""From the package's names and units of prices to a compiled price. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from aieye.ledger.pricing.compiled import CompiledPrice
from aieye.ledger.pricing.money import pico_of
from aieye.ledger.pricing.rates import Rates, complete_rates

if TYPE_CHECKING:
    from genai_prices.types import TieredPrices

_KIND_OF_PRICE: Final = {
    "input_mtok": "input",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "input_audio_mtok": "input_audio",
    "cache_audio_read_mtok": "cached_audio",
    "input_image_mtok": "input_image",
    "cache_image_read_mtok": "cached_image",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "output_audio_mtok": "output_audio",
    "output_image_mtok": "output_image",
    "output_citation_mtok": "citation",
}
# genai-prices has this rule in code, not in its data. https://console.groq.com/docs/speech-to-text
_GROQ_WHISPER: Final = frozenset({"whisper-large-v3", "whisper-large-v3-turbo"})
_GROQ_MIN_AUDIO_MS: Final = 10_000
Prices = dict[str, "Decimal | TieredPrices"]


def compile_price(
    provider: str, model: str, prices: Prices, effective_from: datetime | None, source: str
) -> CompiledPrice | None:
    """Compile a model's prices; None when the package states none that applies to a call here.

    It states none for some models that are free and for some that it does not know. Only a name
    with OpenRouter's `:free` says which.
    """
    tokens = {kind: prices[key] for key, kind in _KIND_OF_PRICE.items() if key in prices}
    if not prices and model.endswith(":free"):
        tokens = {"input": Decimal(0), "output": Decimal(0)}
    request = _unit_price(prices, ("requests_kcount",), units=1000)
    audio_hour = _unit_price(prices, ("input_audio_hours", "audio_hours"), units=1)
    character = _unit_price(prices, ("input_mchars",), units=1_000_000)
    if not tokens and request is None and audio_hour is None and character is None:
        return None
    starts = sorted({t.start for price in tokens.values() for t in getattr(price, "tiers", ())})
    return CompiledPrice(
        provider=provider,
        model=model,
        source=source,
        rates=_rates_at(tokens, None),
        tiers=tuple((start, _rates_at(tokens, start)) for start in starts),
        effective_from=effective_from,
        request=request,
        search=_unit_price(prices, ("web_searches_kcount",), units=1000),
        audio_hour=audio_hour,
        character=character,
        min_audio_ms=_GROQ_MIN_AUDIO_MS if provider == "groq" and model in _GROQ_WHISPER else 0,
    )


def _rates_at(tokens: Prices, start: int | None) -> Rates:
    """Return the rates of the tier that begins above `start` input tokens, or of the base."""

    def rate(price: Decimal | TieredPrices) -> Decimal:
        if isinstance(price, Decimal):
            return price
        tiers = [] if start is None else [t for t in price.tiers if t.start <= start]
        return tiers[-1].price if tiers else price.base

    return complete_rates({kind: pico_of(rate(price)) for kind, price in tokens.items()})


def _unit_price(prices: Prices, keys: Iterable[str], *, units: int) -> int | None:
    """Return the first of some prices, in pico-dollars a unit. None of these has tiers."""
    for key in keys:
        price = prices.get(key)
        if isinstance(price, Decimal):
            return pico_of(price, units=units)
    return None
