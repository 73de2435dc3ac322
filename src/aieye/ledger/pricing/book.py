"""Finds the price of a model at a provider at a time, and remembers what it found. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aieye.ledger.pricing.compiled import CompiledPrice
from aieye.ledger.pricing.override import PriceOverride
from aieye.ledger.pricing.package import load_package, package_price

MAX_MODEL_CHARACTERS: Final = 256
"""A longer model name has no price: names come from clients and are kept in memory."""
SIMULATED_PROVIDERS: Final = frozenset({"demo", "simulated"})
"""Names of providers that cost nothing real: nothing prices their calls, not even an override."""
_DATE: Final = re.compile(r"-(?:\d{4}|\d{6}|\d{8}|\d{4}-\d{2}(?:-\d{2})?)", re.ASCII)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Span:
    """A price, or that there is none, and the time for which that was found."""

    starts_at: datetime
    ends_at: datetime
    price: CompiledPrice | None


class PriceBook:
    """Finds prices and remembers them. Not to be shared between threads."""

    def __init__(self, overrides: Sequence[PriceOverride] = (), *, memo_limit: int = 4096) -> None:
        # The best comes last, so that of equals the one that was given last wins.
        self._overrides = sorted(overrides, key=PriceOverride.rank)
        self._memo: dict[tuple[str, str, str, str | None, str | None], _Span] = {}
        self._memo_limit = memo_limit

    @staticmethod
    def load() -> None:
        """Load the package's prices, which is otherwise done by the first look-up that needs them.

        Takes 30 to 250 ms and 4 to 25 MB, by what was imported before and whether it is compiled,
        once a process: worth a thread of its own in a server. Never uses the network.
        """
        load_package()

    @staticmethod
    def is_loaded() -> bool:
        """Say whether the package's prices are in memory."""
        return load_package.cache_info().currsize > 0

    def price_for(
        self,
        provider_name: str,
        provider_origin: str,
        model: str,
        at: datetime,
        service_tier: str | None = None,
        *,
        asked: str | None = None,
    ) -> CompiledPrice | None:
        """Return the price of a model at one of our providers at an aware time; None if unknown.

        An override that is in effect wins. Else the provider is known by its origin (a URL: the
        patterns are the package's), or by its name when that is exactly a provider's id there,
        which prices a test or a relay that is named `openai` on purpose. A private server that
        happens to serve `gpt-4o` has no price: its owner pays for hardware, not for tokens.
        `service_tier` is the one that served the call; tiers without a price of their own have the
        standard one. `asked` is the name by which the model was asked for, where it answered by
        another: an override for it also holds for the dated name of the same model, and its price
        is taken where the name that answered has none at all.
        """
        key = (provider_name, provider_origin, model, service_tier, asked)
        span = self._memo.get(key)
        if span is not None and span.starts_at <= at < span.ends_at:
            return span.price
        if not 0 < len(model) <= MAX_MODEL_CHARACTERS:
            return None
        name = provider_name.strip().lower()
        if name in SIMULATED_PROVIDERS:
            return None
        if at.tzinfo is None:
            raise ValueError("a price is asked for at an aware time")
        known_as = model.lower() if asked is None else asked.lower()
        found = self._found(
            name, provider_origin, model.lower(), known_as, at.astimezone(UTC), service_tier
        )
        span = _span(found, at)
        if key not in self._memo and len(self._memo) >= self._memo_limit:
            del self._memo[next(iter(self._memo))]
        self._memo[key] = span
        return span.price

    def _found(
        self,
        provider: str,
        origin: str,
        model: str,
        asked: str,
        at: datetime,
        service_tier: str | None,
    ) -> Iterator[tuple[CompiledPrice | None, list[datetime]]]:
        """Yield the prices that may hold, the one that goes before the others first, each with the
        times at which it changes."""
        is_dated = model.startswith(asked) and _DATE.fullmatch(model, len(asked))
        yield self._override(provider, model, at)
        if is_dated:
            yield self._override(provider, asked, at)
        yield package_price(provider, origin, model, at, service_tier)
        if asked != model:
            yield self._override(provider, asked, at)
            yield package_price(provider, origin, asked, at, service_tier)

    def _override(
        self, provider: str, model: str, at: datetime
    ) -> tuple[CompiledPrice | None, list[datetime]]:
        applicable = [o for o in self._overrides if o.applies_to(provider, model)]
        in_effect = [o for o in applicable if o.effective_from <= at]
        return (
            in_effect[-1].compiled(provider) if in_effect else None,
            [o.effective_from for o in applicable],
        )


def _span(found: Iterator[tuple[CompiledPrice | None, list[datetime]]], at: datetime) -> _Span:
    """The first price there is, and until when nothing that was looked at changes."""
    changes: list[datetime] = []
    price = None
    for price, times in found:
        changes += times
        if price is not None:
            break
    return _Span(
        starts_at=max((c for c in changes if c <= at), default=_LONG_AGO),
        ends_at=min((c for c in changes if c > at), default=_NEVER),
        price=price,
    )
