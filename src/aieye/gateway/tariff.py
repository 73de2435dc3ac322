"""What a finished exchange used and what it cost, in the ledger's terms."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aieye.access.snapshot import ProviderInfo, Snapshot
from aieye.db.types import now
from aieye.gateway.usage import Usage
from aieye.ledger.book import ESTIMATED, EXACT, UNKNOWN, Book
from aieye.ledger.pricing import PriceBook, PriceOverride


@dataclass(frozen=True, slots=True)
class Charge:
    """Money in nano-dollars (None: unknown, never 0) with how sure it is and the price it is by."""

    cost_nano: int | None
    cost_state: str
    price_id: str | None


_MOST_CHARGED = 1_000
_MOST_ANSWERED = 1_000
NOTHING = Charge(0, EXACT, None)
NOT_KNOWN = Charge(None, UNKNOWN, None)


class Tariff:
    """The prices in force; follows the administrators' overrides."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._prices = PriceBook(())
        # Models that were answered and priced: names that are more than a client's text.
        self._charged: set[str] = set()
        # By a provider's id and the name that it was asked by, the model that answered to it last.
        self._answered: dict[tuple[int, str], str] = {}
        self._loading: asyncio.Task[None] | None = None

    def follow(self, snapshot: Snapshot) -> None:
        """Take over the overrides of a new snapshot."""
        self._prices = PriceBook([_override(price) for price in snapshot.prices])

    def prepare(self, provider: ProviderInfo, model: str | None) -> None:
        """Begin to load the price list beside the first call that needs it: it takes a while."""
        if self._loading is None and model is not None and not provider.is_simulated:
            self._loading = asyncio.create_task(asyncio.to_thread(PriceBook.load))

    async def ready(self, provider: ProviderInfo, model: str | None) -> None:
        """Wait for what `prepare` began."""
        if self._loading is not None and not self._loading.done():
            await asyncio.shield(self._loading)

    def has_charged(self, model: str) -> bool:
        """Whether the model has answered and has a price."""
        return model in self._charged

    def note_answer(self, provider: ProviderInfo, asked: str | None, model: str | None) -> None:
        """Remember which model answers to the name that the provider was asked by."""
        if asked and model:
            self._remember((provider.id, asked), model)

    def model_of_failure(self, provider: ProviderInfo, asked: str | None) -> str | None:
        """Which model did not answer: the one that answered to that name before, or the name itself
        where it has a price. None for any other name, which is the client's own text."""
        if not asked or provider.is_simulated:
            return None
        place = (provider.id, asked)
        if place not in self._answered and self._prices.price_for(
            provider.name, provider.origin, asked, now()
        ):
            self._remember(place, asked)
        return self._answered.get(place)

    def _remember(self, place: tuple[int, str], model: str) -> None:
        if place in self._answered or len(self._answered) < _MOST_ANSWERED:
            self._answered[place] = model

    def quote(self, provider: ProviderInfo, model: str | None, usage: Usage) -> int | None:
        """What `usage` would cost, in nano-dollars; nothing is booked by it."""
        if model is None or provider.is_simulated:
            return None
        price = self._prices.price_for(
            provider.name, provider.origin, model, now(), usage.service_tier, asked=model
        )
        return None if price is None else price.cost_nano(usage)

    def charge(
        self,
        provider: ProviderInfo,
        model: str | None,
        usage: Usage | None,
        *,
        asked: str | None = None,
    ) -> Charge:
        """What `usage` costs at `provider`; unknown where the price or the usage is.

        `model` is the one that answered, `asked` the name by which the provider was asked for it
        (`PriceBook.price_for`). What is simulated has no cost, which is told from one of zero.
        """
        if usage is None or model is None or provider.is_simulated:
            return NOT_KNOWN
        price = self._prices.price_for(
            provider.name, provider.origin, model, now(), usage.service_tier, asked=asked
        )
        if price is None:
            return NOT_KNOWN
        cost = price.cost_nano(usage)
        if cost is None:
            return NOT_KNOWN
        if len(self._charged) < _MOST_CHARGED:
            self._charged.add(model)
        state = ESTIMATED if usage.estimated or usage.anomaly else EXACT
        return Charge(cost, state, self._book.keep_price(price))


def _override(price: Mapping[str, Any]) -> PriceOverride:
    rates = {name: Decimal(text) for name, text in price["rates"].items()}
    return PriceOverride(
        model=price["model"],
        provider=price["provider"],
        effective_from=price["effective_from"],
        **rates,
    )
