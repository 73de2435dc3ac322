"""A price ready to multiply: one model at one provider, all of it integers. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import orjson

from aieye.ledger.pricing.metered import Metered
from aieye.ledger.pricing.money import MAX_NANO, nano_of
from aieye.ledger.pricing.rates import Rates, pico_of_tokens, rates_as_json

_MS_PER_HOUR: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class CompiledPrice:
    """The price of one model at one provider: integers, ready to multiply.

    `rates` hold up to and including `tiers[0][0]` input tokens; each tier `(above, rates)` holds
    for a call with more input tokens than `above`, and then for all tokens of the call.
    """

    provider: str
    model: str
    """The model or pattern that matched, as its source names it."""
    source: str
    """Where the price is from: `genai-prices <version>` or `override`."""
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    effective_from: datetime | None = None
    request: int | None = None
    """Pico-dollars a request."""
    search: int | None = None
    """Pico-dollars a search of the web. Without it searches are not billed: providers that report
    them and have no rate include them."""
    audio_hour: int | None = None
    """Pico-dollars an hour of audio."""
    character: int | None = None
    """Pico-dollars a character that is spoken."""
    min_audio_ms: int = 0
    """The shortest length of audio that is billed, in milliseconds."""
    price_id: str = field(init=False)
    """A short hash of all of the above: rows refer to the price they were billed by."""
    first_tier: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        content = orjson.dumps(self._content(), option=orjson.OPT_SORT_KEYS)
        digest = hashlib.blake2b(content, digest_size=8).hexdigest()
        object.__setattr__(self, "price_id", digest)
        object.__setattr__(self, "first_tier", self.tiers[0][0] if self.tiers else MAX_NANO)

    def cost_nano(self, usage: Metered) -> int | None:
        """Return the cost of a call in nano-dollars, rounded half up; None when it is not known.

        It is not known when the call used a kind of unit that has no rate. The result is never
        negative and never above `MAX_NANO`; within a tier it is monotone in every count that adds
        to the whole, and the sum of two calls' costs differs from the cost of their sum by one
        nano-dollar at most, but for the fee of the request.
        """
        tokens = usage.input
        rates = self.rates if tokens <= self.first_tier else self._rates_above(tokens)
        if (
            rates.text is None
            or usage.extras is not None
            or usage.input_audio
            or usage.output_audio
            or usage.input_image
            or usage.output_image
        ):
            return self._cost_of_kinds(usage, rates)
        input_rate, cached_rate, write_rate, output_rate = rates.text
        cached = usage.cached
        written = usage.cache_write
        pico = (tokens - cached - written) * input_rate + cached * cached_rate
        if written:
            pico += written * write_rate
        if output := usage.output:
            if output_rate is None:
                return None
            pico += output * output_rate
        if self.request is not None:
            pico += self.request
        return nano_of(pico)

    def as_json(self) -> dict[str, object]:
        """Return the price as JSON values: rates are pico-dollars a unit, absent when unknown."""
        return {"price_id": self.price_id, "unit": "pico-usd", **self._content()}

    def _content(self) -> dict[str, object]:
        content: dict[str, object] = {
            "provider": self.provider,
            "model": self.model,
            "source": self.source,
            "effective_from": self.effective_from and self.effective_from.isoformat(),
            "rates": rates_as_json(self.rates),
            "tiers": [{"above": above, "rates": rates_as_json(r)} for above, r in self.tiers],
            "request": self.request,
            "search": self.search,
            "audio_hour": self.audio_hour,
            "character": self.character,
            "min_audio_ms": self.min_audio_ms or None,
        }
        return {name: value for name, value in content.items() if value not in (None, [])}

    def _rates_above(self, tokens: int) -> Rates:
        """Return the rates of the highest tier below a number of input tokens."""
        rates = self.rates
        for above, tier in self.tiers:
            if tokens <= above:
                break
            rates = tier
        return rates

    def _cost_of_kinds(self, usage: Metered, rates: Rates) -> int | None:
        """Return the cost of a call with more than text in it, or at a price that has no text."""
        extras = usage.extras
        audio_ms = extras.audio_ms if extras else 0
        pico = self.request or 0
        billed = self.request is not None
        if rates.input is not None or rates.output is not None:
            of_tokens = pico_of_tokens(usage, rates)
            if of_tokens is None:
                return None
            pico += of_tokens
            # The audio of a call may be stated as tokens and as seconds, and be billed as either.
            billed = billed or not audio_ms or usage.input > 0 or usage.output > 0
        if extras and extras.searches and self.search is not None:
            pico += extras.searches * self.search
        if extras and extras.characters and self.character is not None:
            pico += extras.characters * self.character
            billed = True
        if audio_ms and self.audio_hour is not None:
            billed_ms = max(audio_ms, self.min_audio_ms)
            return nano_of(pico * _MS_PER_HOUR + self.audio_hour * billed_ms, _MS_PER_HOUR)
        return nano_of(pico) if billed else None
