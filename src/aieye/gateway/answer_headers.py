"""What the headers of an answer say of the call: its id, who answered, the cache, the money."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aieye.cache.entry import Entry
from aieye.gateway.calls import Call
from aieye.gateway.dispatch import Outcome
from aieye.gateway.exchange import Exchange
from aieye.gateway.replay import HIT, headers_from, hit_headers, usd
from aieye.gateway.wire import Header
from aieye.ledger.book import CallRecord

_OF_CACHE: Final = frozenset({b"x-aieye-cache", b"cache-status", b"age"})
_OF_MONEY: Final = frozenset({b"x-aieye-cost-usd", b"x-aieye-saved-usd"})


def headers_of_exchange(call: Call, exchange: Exchange) -> list[Header]:
    """For an answer as the provider gives it, whole or as it comes."""
    headers = [_own(call), *exchange.headers]
    if exchange.outcome is not None:
        headers += _provider(exchange.outcome)
    headers += _cache(call, is_stored=exchange.done and exchange.entry is not None)
    # A stream's client is told before it is settled: then nothing is known yet.
    return headers + _money(call.record)


def headers_of_other_form(call: Call, exchange: Exchange, entry: Entry) -> list[Header]:
    """For an answer that was asked for in another form by who made the exchange."""
    headers = [_own(call), *headers_from(entry, is_stream=call.record.is_stream)]
    if exchange.outcome is not None:
        headers += _provider(exchange.outcome)
    return headers + _cache(call) + _money(call.record)


def fixed_of_hit(entry: Entry, provider: str | None, *, is_stream: bool) -> tuple[Header, ...]:
    """What all answers out of an entry say in one form; `provider` made it, if still known."""
    headers = [*headers_from(entry, is_stream=is_stream), HIT, (b"x-aieye-cost-usd", usd(0))]
    if provider is not None:
        headers.append((b"x-aieye-provider", provider.encode()))
    if entry.provenance.cost_nano is not None:
        headers.append((b"x-aieye-saved-usd", usd(entry.provenance.cost_nano)))
    return tuple(headers)


def headers_of_hit(call: Call, entry: Entry, fixed: tuple[Header, ...]) -> list[Header]:
    """For an answer out of the cache, `fixed` being what `fixed_of_hit` gave."""
    return [_own(call), *fixed, *hit_headers(entry)]


def _own(call: Call) -> Header:
    return (b"x-request-id", call.record.request_id.encode())


def _provider(outcome: Outcome) -> list[Header]:
    headers = [(b"x-aieye-provider", outcome.candidate.provider.name.encode())]
    if outcome.request_id is not None:
        headers.append((b"x-aieye-upstream-request-id", outcome.request_id.encode("latin-1")))
    return headers


def _cache(call: Call, *, is_stored: bool = False) -> list[Header]:
    """What the cache had to do with it; the standard's words are RFC 9211's."""
    state, status = call.record.cache, b"aieye; fwd=" + call.forwarded_for
    if state == "shared":
        status += b"; collapsed"
    elif is_stored:
        status += b"; stored"
    return [(b"x-aieye-cache", state.encode()), (b"cache-status", status)]


def with_money_of(headers: Iterable[Header], calls: Iterable[Call]) -> list[Header]:
    """The headers of one of several settled calls that are one answer: with what all cost and saved,
    and of the cache only what is so of all of them."""
    calls = list(calls)
    total = CallRecord("")
    records = [call.record for call in calls]
    costs = [record.cost_nano for record in records]
    if None not in costs:
        total.cost_nano = sum(cost or 0 for cost in costs)
    saved = [record.saved_nano for record in records if record.saved_nano is not None]
    total.saved_nano = sum(saved) if saved else None
    is_alike = len({record.cache for record in records}) == 1
    dropped = _OF_MONEY if is_alike else _OF_MONEY | _OF_CACHE
    return [one for one in headers if one[0] not in dropped] + _money(total)


def _money(record: CallRecord) -> list[Header]:
    """What a settled call cost and saved, where that is known."""
    headers = []
    if record.cost_nano is not None:
        headers.append((b"x-aieye-cost-usd", usd(record.cost_nano)))
    if record.saved_nano is not None:
        headers.append((b"x-aieye-saved-usd", usd(record.saved_nano)))
    return headers
