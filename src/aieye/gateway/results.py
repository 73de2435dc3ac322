"""What an exchange came to, worked out once for all its clients, and its answer kept for others."""

from __future__ import annotations

import time
from dataclasses import replace

from aieye.cache.service import Cache
from aieye.errors import AieyeError
from aieye.gateway.exchange import Exchange
from aieye.gateway.settle import MOST_BODY_BYTES, Settlement, entry_of, settlement_of
from aieye.gateway.tariff import NOT_KNOWN, Tariff
from aieye.ledger.book import Book
from aieye.ledger.redact import redact
from aieye.settings import Settings
from aieye.telemetry.loggers import get_logger

log = get_logger()


class Results:
    """Settles exchanges, and keeps what they brought in the cache and in the ledger."""

    def __init__(self, settings: Settings, cache: Cache, book: Book, tariff: Tariff) -> None:
        self._cache = cache
        self._book = book
        self._tariff = tariff
        self._keeps_bodies = settings.ledger_bodies
        self._default_ttl_us = (
            None if settings.cache_ttl is None else settings.cache_ttl * 1_000_000
        )

    def settle(self, exchange: Exchange) -> None:
        """Set the `settlement` of an exchange that has ended and, where it is kept, its `entry`."""
        settlement = exchange.settlement = self._settlement(exchange)
        is_kept = self._keeps_bodies and self._keep_texts(exchange, settlement)
        if exchange.keeps:
            self._keep_answer(exchange, settlement, is_kept=is_kept)
        # Clients may still take their time over the last of it.
        exchange.settlement = replace(settlement, response=None)

    def _settlement(self, exchange: Exchange) -> Settlement:
        try:
            return settlement_of(exchange, self._tariff)
        except Exception as error:
            # Whatever a provider sent: the rows of those who wait are written all the same.
            log.exception("exchange_not_settled", error=type(error).__name__)
            exchange.error = AieyeError("Something went wrong in AI-Eye itself.")
            return _unsettled(exchange)

    def _keep_answer(self, exchange: Exchange, settlement: Settlement, *, is_kept: bool) -> None:
        ttl_us = exchange.plan.controls.ttl_us
        entry = exchange.entry = entry_of(
            exchange,
            settlement,
            namespace=exchange.namespace,
            body_id=exchange.body_id if self._keeps_bodies else None,
            ttl_us=self._default_ttl_us if ttl_us is None else ttl_us,
        )
        if entry is not None:
            request = exchange.plan.canonical_of(entry.key)
            # It only explains misses, so it is no place for a secret either.
            self._cache.keep(entry, request if is_kept else redact(request), is_kept=is_kept)

    def _keep_texts(self, exchange: Exchange, settlement: Settlement) -> bool:
        """Keep what was asked and answered for the ledger; whether that is all of it, as it was."""
        texts = exchange.plan.raw, settlement.response
        kept = [redact(text) if text and len(text) <= MOST_BODY_BYTES else None for text in texts]
        self._book.keep_body(exchange.body_id, time.time_ns() // 1000, *kept)
        # Where nothing was taken out, the very same object comes back.
        return kept[0] is texts[0] and texts[1] is not None and kept[1] is texts[1]


def _unsettled(exchange: Exchange) -> Settlement:
    """Of an exchange whose facts could not be found out: what it cost, nobody knows."""
    outcome = exchange.outcome
    if outcome is None:
        return Settlement(charge=NOT_KNOWN)
    return Settlement(outcome.candidate.provider.id, outcome.key.id, charge=NOT_KNOWN)
