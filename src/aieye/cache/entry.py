"""A stored answer, and what a hit on it books. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from aieye.cache.key import digest

Header = tuple[bytes, bytes]
# Beside the bodies themselves: the object, its key and its headers in memory.
_OVERHEAD_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Provenance:
    """Of the call that made an entry: what a hit shows as its own, and what it saved.

    Tokens are counts, money is nano-dollars (None: unknown). `usage_span` is where the usage-only
    frame lies in a stored stream (None: it has none), to be left out for clients that did not ask for it.
    """

    model: str | None = None
    key_id: int | None = None
    body_id: str | None = None
    cost_nano: int | None = None
    tokens_input: int | None = None
    tokens_cached: int | None = None
    tokens_output: int | None = None
    tokens_reasoning: int | None = None
    usage: dict[str, Any] | None = None
    usage_span: tuple[int, int] | None = None
    upstream_request_id: str | None = None
    price_id: str | None = None

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Provenance:
        known = {name: value[name] for name in cls.__slots__ if name in value}
        span = known.get("usage_span")
        return cls(**{**known, "usage_span": None if span is None else tuple(span)})


@dataclass(frozen=True, slots=True)
class Entry:
    """An answer as the provider gave it. Times are microseconds since 1970.

    `body` is the bytes of the one form that was stored: a JSON body (or audio), or the frames of a
    stream.
    """

    key: bytes
    endpoint: str
    provider_id: int
    namespace: str
    model: str
    is_stream: bool
    headers: tuple[Header, ...]
    body: bytes = field(repr=False)
    provenance: Provenance
    created_at: int
    expires_at: int | None

    @property
    def size_bytes(self) -> int:
        return len(self.body) + _OVERHEAD_BYTES

    def is_fresh(self, now: int, max_age_us: int | None) -> bool:
        """Whether the entry may still be given, `max_age_us` being the most age a client accepts."""
        if self.expires_at is not None and now >= self.expires_at:
            return False
        return max_age_us is None or now - self.created_at <= max_age_us

    def checksum(self, headers: bytes, provenance: bytes) -> bytes:
        """Covers all that is given out or booked, and the key: nothing can be swapped unseen.

        `headers` and `provenance` are their JSON texts as they are stored.
        """
        facts = (self.endpoint, self.provider_id, self.namespace, self.model, self.is_stream)
        times = (self.created_at, self.expires_at)
        told = repr((facts, times, len(headers), len(provenance))).encode()
        return digest(b"".join((self.key, told, headers, provenance, self.body)))


@lru_cache(maxsize=1_024)
def headers_as_json(headers: tuple[Header, ...]) -> bytes:
    """Headers as the JSON text `[["name", "value"], …]` (latin-1, as HTTP has them)."""
    return orjson.dumps(
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
    )


def headers_from_json(text: str | bytes) -> tuple[Header, ...]:
    """The reverse of `headers_as_json`."""
    return tuple(
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(text)
    )
