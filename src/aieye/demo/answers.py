"""What an endpoint hands back: a JSON object, other bytes, or a stream of events."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from aieye.demo.errors import ProviderError, invalid, wrong_type

Json: TypeAlias = dict[str, Any]

FINGERPRINT = "fp_simulated"
# Every `created` and `created_at` is 2025-06-15T15:06:40Z: a clock would change the bytes.
CREATED = 1_750_000_000
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, sent with its Content-Length."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """A streamed answer: server-sent events, each with its blank line."""

    events: Iterable[bytes]


# A JSON object stands for the answer that it is the body of.
Outcome: TypeAlias = Json | Answer | Stream


def event(data: Json) -> bytes:
    """A server-sent event without a name."""
    return b"data: " + orjson.dumps(data) + b"\n\n"


def digest(*parts: str | bytes) -> str:
    """Hexadecimal digest of parts, none of which can run into the next: ids are made of it."""
    hashed = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        hashed.update(b"%d:" % len(raw) + raw)
    return hashed.hexdigest()


def page(items: Sequence[Json], query: Mapping[str, str]) -> Json:
    """A page of `items` (given oldest first), by the list conventions: limit, after, order."""
    try:
        limit = int(query.get("limit", "20"))
    except ValueError:
        raise wrong_type("limit", "an integer") from None
    if not 1 <= limit <= 10_000:
        raise invalid("limit", "Expected a value between 1 and 10000.")
    ordered = list(items) if query.get("order") == "asc" else list(reversed(items))
    if (after := query.get("after")) is not None:
        ids = [item["id"] for item in ordered]
        if after not in ids:
            raise ProviderError(404, f"No such cursor object: {after}", param="after")
        ordered = ordered[ids.index(after) + 1 :]
    shown, more = ordered[:limit], len(ordered) > limit
    first, last = (shown[0]["id"], shown[-1]["id"]) if shown else (None, None)
    return {"object": "list", "data": shown, "first_id": first, "last_id": last, "has_more": more}
