"""An entry as an answer again: in its own form byte for byte, in the other form converted."""

from __future__ import annotations

import time
from functools import lru_cache

from aieye.cache.entry import Entry
from aieye.cache.forms import CannotConvert, fold_frames, frame_body, strip_usage
from aieye.gateway.wire import Endpoint, Header
from aieye.ledger.book import CallRecord
from aieye.ledger.pricing import format_usd

_STREAM_TYPE = (b"content-type", b"text/event-stream; charset=utf-8")
_JSON_TYPE = (b"content-type", b"application/json")
HIT = (b"x-aieye-cache", b"hit")
_HIT_STATUS = (b"cache-status", b"aieye; hit")


def body_from(
    entry: Entry, endpoint: Endpoint, *, is_stream: bool, wants_usage: bool
) -> bytes | None:
    """The bytes for a client that asked for this form; None when the entry cannot give it."""
    if entry.is_stream == is_stream:
        span = entry.provenance.usage_span
        if not is_stream or (wants_usage and span is not None):
            return entry.body
        if wants_usage and endpoint.dialect in {"chat", "completions"}:
            return None
        return entry.body if wants_usage else strip_usage(entry.body, span)
    if not endpoint.convertible:
        return None
    try:
        if is_stream:
            return frame_body(endpoint.dialect, entry.body, include_usage=wants_usage)
        return fold_frames(endpoint.dialect, entry.body)
    except CannotConvert:
        return None


def headers_from(entry: Entry, *, is_stream: bool) -> list[Header]:
    """The provider's headers that an entry gives again, with the content type of the form given."""
    if entry.is_stream == is_stream:
        return list(entry.headers)
    kept = [pair for pair in entry.headers if pair[0] != b"content-type"]
    return [_STREAM_TYPE if is_stream else _JSON_TYPE, *kept]


def hit_headers(entry: Entry) -> tuple[Header, Header]:
    """What says that this is a hit (RFC 9211) and how old it is (RFC 9111, 5.1)."""
    moment = time.time_ns() // 1000
    status = _HIT_STATUS
    if entry.expires_at is not None:
        ttl = b"aieye; hit; ttl=%d" % ((entry.expires_at - moment) // 1_000_000)
        status = (b"cache-status", ttl)
    return status, (b"age", b"%d" % (max(0, moment - entry.created_at) // 1_000_000))


def fill_from_entry(record: CallRecord, entry: Entry) -> None:
    """Book a hit: nothing paid, what it saved, the tokens of the answer that is given again."""
    made = entry.provenance
    record.provider_id, record.key_id = entry.provider_id, made.key_id
    record.model = made.model
    record.tokens_input, record.tokens_output = made.tokens_input, made.tokens_output
    record.tokens_cached, record.tokens_reasoning = made.tokens_cached, made.tokens_reasoning
    record.cost_nano, record.cost_state = 0, "exact"
    record.saved_nano = made.cost_nano
    record.price_id = made.price_id
    record.body_id = made.body_id


@lru_cache(maxsize=4096)
def usd(nano: int) -> bytes:
    """Nano-dollars as a decimal text for a header."""
    return format_usd(nano).encode()
