"""What a call costs, in integers. Pure.

A `PriceBook` finds the price of a model at a provider at a time: an administrator's override first,
then the prices that the package genai-prices keeps, dated and offline. What it finds is compiled
once into a `CompiledPrice`, integer pico-dollars (1e-12 $) a token, which multiplies and rounds
half up to nano-dollars (1e-9 $) once, at the end. A price or a rate that is not known gives None,
never 0: an unknown cost must not look like a free call.
"""

from aieye.ledger.pricing.book import MAX_MODEL_CHARACTERS, SIMULATED_PROVIDERS, PriceBook
from aieye.ledger.pricing.breakdown import PriceLine, breakdown
from aieye.ledger.pricing.compiled import CompiledPrice
from aieye.ledger.pricing.metered import Metered, MeteredExtras
from aieye.ledger.pricing.money import MAX_NANO, NANO_PER_USD, format_usd, parse_usd
from aieye.ledger.pricing.override import MAX_RATE, PriceOverride
from aieye.ledger.pricing.rates import Rates

__all__ = [
    "MAX_MODEL_CHARACTERS",
    "MAX_NANO",
    "MAX_RATE",
    "NANO_PER_USD",
    "SIMULATED_PROVIDERS",
    "CompiledPrice",
    "Metered",
    "MeteredExtras",
    "PriceBook",
    "PriceLine",
    "PriceOverride",
    "Rates",
    "breakdown",
    "format_usd",
    "parse_usd",
]
