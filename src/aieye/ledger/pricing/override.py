"""A price that an administrator set, and which of several goes before. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from aieye.ledger.pricing.compiled import CompiledPrice
from aieye.ledger.pricing.money import pico_of
from aieye.ledger.pricing.rates import complete_rates

_OVERRIDE_RATES: Final = ("input", "cached_input", "cache_write", "output", "per_request")
MAX_RATE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PriceOverride:
    """A price that an administrator set, in dollars a million tokens and dollars a request.

    `model` is a name or, with a trailing `*`, the start of one; letter case does not matter.
    `provider` is the name of one of our providers, None for all. `effective_from` is aware. It
    replaces the package's price whole: without `cached_input` or `cache_write` such tokens cost
    `input`; without `output` a call that has output has no known cost, unless `per_request` is the
    only price. ValueError when it has no price at all, or a wrong one.
    """

    model: str
    effective_from: datetime
    provider: str | None = None
    input: Decimal | None = None
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None
    output: Decimal | None = None
    per_request: Decimal | None = None

    def __post_init__(self) -> None:
        if not self.model or "*" in self.model[:-1]:
            raise ValueError("model is a name, or the start of one and a `*`")
        if self.effective_from.tzinfo is None:
            raise ValueError("effective_from needs a time zone")
        rates = {name: getattr(self, name) for name in _OVERRIDE_RATES}
        if all(rate is None for rate in rates.values()):
            raise ValueError("a price needs at least one rate")
        for name, rate in rates.items():
            if rate is not None and not (rate.is_finite() and 0 <= rate <= MAX_RATE):
                raise ValueError(f"{name} is not a price")

    def applies_to(self, provider: str, model: str) -> bool:
        """Say whether it prices a model at a provider, both given in lower case."""
        if self.provider is not None and self.provider.lower() != provider:
            return False
        pattern = self.model.lower()
        return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern

    def rank(self) -> tuple[bool, bool, int, datetime]:
        """Order overrides that apply: a provider's own, then an exact model, then the longest
        start of one, then the newest."""
        return (
            self.provider is not None,
            not self.model.endswith("*"),
            len(self.model),
            self.effective_from,
        )

    def compiled(self, provider: str) -> CompiledPrice:
        """Return the price to bill a provider's calls by."""
        request = self.per_request
        tokens = {"input": self.input, "output": self.output}
        tokens |= {"cached": self.cached_input, "cache_write": self.cache_write}
        return CompiledPrice(
            provider=provider,
            model=self.model,
            source="override",
            rates=complete_rates(
                {kind: pico_of(rate) for kind, rate in tokens.items() if rate is not None}
            ),
            effective_from=self.effective_from,
            request=None if request is None else pico_of(request, units=1),
        )
