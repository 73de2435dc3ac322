"""The ledger's book: takes the record of a call and sees that its row and its sums are written.

The row and the sums it belongs to are committed in one transaction by the group writer
(`aieye.db.group_writer`), so that sums never disagree with rows, whenever the process ends.
"""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

import orjson
import uuid_utils

from aieye.access.snapshot import DEMO_ID
from aieye.db.batches import Target
from aieye.db.group_writer import GroupWriter
from aieye.db.tables import (
    Call,
    CallBody,
    LatencyRollup,
    PresetUse,
    PriceSnapshot,
    PromptUse,
    UsageDimension,
    UsageRollup,
)
from aieye.ledger.rollups import DAY, GRAINS, MINUTE, bucket_of, latency_bin

OPEN, DONE, INTERRUPTED = "open", "done", "interrupted"
EXACT, ESTIMATED, UNKNOWN = "exact", "estimated", "unknown"
# The status of a call whose client left before its end, as nginx writes it.
CLIENT_LEFT = 499
# Bodies over this are kept compressed.
COMPRESS_BYTES = 8_192
_WINDOW_BITS, _MEMORY_LEVEL = 13, 6
_LONGEST_NAME, _LONGEST_ERROR = 200, 300
# Combinations of dimensions remembered; the table itself is bounded by what really occurs.
_MOST_DIMENSIONS = 20_000

_COLUMNS = tuple(column.name for column in Call.__table__.columns)
CALLS = Target(Call.__table__, _COLUMNS, ("id",), "replace")  # type: ignore[arg-type] # FromClause
BODIES = Target(
    CallBody.__table__,  # type: ignore[arg-type] # declared as FromClause, is a Table
    ("id", "created_at", "is_compressed", "request", "response"),
    ("id",),
    "replace",
    lambda row: _packed(row),  # noqa: PLW0108 - defined below
)
PRICES = Target(PriceSnapshot.__table__, ("id", "body"), ("id",), "ignore")  # type: ignore[arg-type] # as above
DIMENSION_NAMES = (
    "token_id", "user_id", "provider_id", "endpoint", "model", "pipeline", "status", "cache",
)  # fmt: skip
DIMENSIONS = Target(
    UsageDimension.__table__,  # type: ignore[arg-type] # as above
    ("id", *DIMENSION_NAMES),
    ("id",),
    "ignore",
)
_SUMS = (
    "calls", "unpriced", "tokens_input", "tokens_cached", "tokens_output", "tokens_reasoning",
    "cost_nano", "saved_nano", "latency_us",
)  # fmt: skip
_BUCKET = ("grain", "bucket", "dimension_id")
ROLLUPS = Target(UsageRollup.__table__, (*_BUCKET, *_SUMS), _BUCKET, "add")  # type: ignore[arg-type] # as above
LATENCIES = Target(
    LatencyRollup.__table__,  # type: ignore[arg-type] # as above
    (*_BUCKET, "bin", "calls"),
    (*_BUCKET, "bin"),
    "add",
)
PROMPT_USES = Target(
    PromptUse.__table__,  # type: ignore[arg-type] # as above
    ("prompt_id", "number", "bucket", "calls", "unpriced", "cost_nano", "saved_nano"),
    ("prompt_id", "number", "bucket"),
    "add",
)
PRESET_USES = Target(
    PresetUse.__table__,  # type: ignore[arg-type] # as above
    ("preset_id", "number", "bucket", "calls", "unpriced", "cost_nano", "saved_nano"),
    ("preset_id", "number", "bucket"),
    "add",
)


class Price(Protocol):
    """What the book needs of a compiled price."""

    @property
    def price_id(self) -> str: ...

    def as_json(self) -> dict[str, object]: ...


@dataclass(slots=True)
class CallRecord:
    """Everything the ledger says of one call, filled in as the call goes on.

    Times are microseconds (`created_at` since 1970, the others from the call's start); money is
    nano-dollars, None where unknown.
    """

    endpoint: str
    token_id: int | None = None
    user_id: int | None = None
    provider_id: int | None = None
    key_id: int | None = None
    model_asked: str | None = None
    model: str | None = None
    # What the sums count a call under that no model answered; no column of its row.
    counted_as: str | None = None
    is_stream: bool = False
    status: int | None = None
    error: str | None = None
    cache: str = "bypass"
    ttft_us: int | None = None
    latency_us: int | None = None
    tokens_input: int | None = None
    tokens_cached: int | None = None
    tokens_output: int | None = None
    tokens_reasoning: int | None = None
    cost_nano: int | None = None
    saved_nano: int | None = None
    cost_state: str = UNKNOWN
    price_id: str | None = None
    usage: dict[str, Any] | None = None
    body_id: str | None = None
    upstream_request_id: str | None = None
    attempts: list[dict[str, Any]] | None = None
    tags: dict[str, str] | None = None
    run_id: str | None = None
    step: str | None = None
    pipeline: str | None = None
    # The prompt that a run's step asks, and which version of it.
    prompt: tuple[int, int] | None = None
    # The preset that it is made for, and which version of it.
    preset: tuple[int, int] | None = None
    id: str = field(default_factory=lambda: uuid_utils.uuid7().hex)
    created_at: int = field(default_factory=lambda: time.time_ns() // 1000)
    started: float = field(default_factory=time.perf_counter)

    @property
    def request_id(self) -> str:
        """What the client is told (`x-request-id`)."""
        return f"req_{self.id}"

    def elapsed_us(self) -> int:
        return int((time.perf_counter() - self.started) * 1_000_000)


class Book:
    """Writes records. `instance_id` names this process: what it leaves open is marked later."""

    def __init__(self, writer: GroupWriter, instance_id: str) -> None:
        self._writer = writer
        self._instance_id = instance_id
        self._prices: set[str] = set()
        self._dimensions: dict[tuple[Any, ...], int] = {}
        # Sums of the gathering batch by minute and dimension, spread to all grains when it closes.
        self._sums: dict[tuple[int, int], list[int]] = {}
        self._bins: dict[tuple[int, int, int], int] = {}
        writer.before_commit(self._spread_sums)

    def open(self, record: CallRecord) -> None:
        """Note that the call is under way; replaced by `settle` in the same place."""
        self._writer.put(CALLS, record.id, self._row(record, OPEN), lazy=True)

    def settle(self, record: CallRecord) -> None:
        """Write the call's final row and count it. Await `GroupWriter.durable` for durability."""
        if record.latency_us is None:
            record.latency_us = int((time.perf_counter() - record.started) * 1_000_000)
        record.model = _legal(record.model, _LONGEST_NAME)
        record.error = _legal(record.error, _LONGEST_ERROR)
        self._writer.put(CALLS, record.id, self._row(record, DONE))
        self._count(record)

    def withhold(self, record: CallRecord, status: int, error: str | None) -> None:
        """Change what a settled call was answered with: its row may still be on its way, or be there.

        The sums follow: what the call was counted under is taken back, which may leave a sum of no
        calls at all.
        """
        self._count(record, -1)
        record.status, record.error = status, error
        self._writer.put(CALLS, record.id, self._row(record, DONE))
        self._count(record)

    def keep_body(
        self, body_id: str, created_at: int, request: bytes | None, response: bytes | None
    ) -> None:
        """Keep what was asked and answered (redacted by the caller); calls point to it by id."""
        self._writer.put(
            BODIES, body_id, (body_id, created_at, False, request, response), lazy=True
        )

    def keep_price(self, price: Price) -> str:
        """See that calls can point to `price`; its id."""
        if price.price_id not in self._prices:
            self._prices.add(price.price_id)
            body = orjson.dumps(price.as_json()).decode()
            self._writer.put(PRICES, price.price_id, (price.price_id, body))
        return price.price_id

    def _row(self, record: CallRecord, state: str) -> tuple[Any, ...]:
        """The columns of `calls`, in the table's order."""
        usage, attempts, tags = record.usage, record.attempts, record.tags
        return (
            record.id,
            record.created_at,
            # Only what is open has to be found again when this process has ended.
            self._instance_id if state == OPEN else "",
            state,
            record.token_id,
            record.user_id,
            record.provider_id,
            record.key_id,
            record.endpoint,
            record.model_asked,
            record.model,
            record.is_stream,
            record.status,
            record.error,
            record.cache,
            record.latency_us,
            record.ttft_us,
            record.tokens_input,
            record.tokens_cached,
            record.tokens_output,
            record.tokens_reasoning,
            record.cost_nano,
            record.saved_nano,
            record.cost_state,
            record.price_id,
            _as_text(usage),
            record.body_id,
            record.upstream_request_id,
            "[]" if attempts is None else _as_text(attempts) or "[]",
            _as_text(tags),
            record.run_id,
            record.step,
            record.pipeline,
        )

    def _count(self, record: CallRecord, number: int = 1) -> None:
        """Add a call to the sums of the gathering batch, or take it back (-1)."""
        dimension = self._dimension(record)
        minute = record.created_at // 60_000_000
        latency = record.latency_us or 0
        sums = self._sums.get((minute, dimension))
        if sums is None:
            sums = self._sums[minute, dimension] = [0] * len(_SUMS)
        sums[0] += number
        sums[1] += number * (record.cost_nano is None)
        sums[2] += number * (record.tokens_input or 0)
        sums[3] += number * (record.tokens_cached or 0)
        sums[4] += number * (record.tokens_output or 0)
        sums[5] += number * (record.tokens_reasoning or 0)
        sums[6] += number * (record.cost_nano or 0)
        sums[7] += number * (record.saved_nano or 0)
        sums[8] += number * latency
        place = (minute, dimension, latency_bin(latency))
        self._bins[place] = self._bins.get(place, 0) + number
        if record.prompt is not None:
            self._count_use(PROMPT_USES, record.prompt, record, number)
        if record.preset is not None:
            self._count_use(PRESET_USES, record.preset, record, number)

    def _count_use(
        self, uses: Target, version: tuple[int, int], record: CallRecord, number: int
    ) -> None:
        """Add a call to the sums of the day of what it was made for. One that was simulated costs
        nothing there, and misses no price."""
        day = bucket_of(record.created_at // 1_000_000, DAY)
        is_unpriced = record.cost_nano is None and record.provider_id != DEMO_ID
        amounts = [number, *(number * amount for amount in (
            int(is_unpriced), record.cost_nano or 0, record.saved_nano or 0
        ))]  # fmt: skip
        self._writer.add(uses, (*version, day), amounts)

    def _dimension(self, record: CallRecord) -> int:
        values = dimension_of(record, record.counted_as)
        known = self._dimensions.get(values)
        if known is None:
            if len(self._dimensions) >= _MOST_DIMENSIONS:
                self._dimensions.clear()
            known = self._dimensions[values] = dimension_id(values)
            self._writer.put(DIMENSIONS, known, (known, *values))
        return known

    def _spread_sums(self) -> None:
        sums, self._sums = self._sums, {}
        bins, self._bins = self._bins, {}
        for (minute, dimension), amounts in sums.items():
            for grain in GRAINS:
                bucket = bucket_of(minute * MINUTE, grain)
                self._writer.add(ROLLUPS, (grain, bucket, dimension), amounts)
        for (minute, dimension, number), calls in bins.items():
            for grain in GRAINS:
                bucket = bucket_of(minute * MINUTE, grain)
                self._writer.add(LATENCIES, (grain, bucket, dimension, number), (calls,))


class Counted(Protocol):
    """What the sums of a call depend on: its record, or its row."""

    @property
    def token_id(self) -> int | None: ...

    @property
    def user_id(self) -> int | None: ...

    @property
    def provider_id(self) -> int | None: ...

    @property
    def endpoint(self) -> str: ...

    @property
    def model(self) -> str | None: ...

    @property
    def pipeline(self) -> str | None: ...

    @property
    def status(self) -> int | None: ...

    @property
    def cache(self) -> str: ...


def dimension_of(call: Counted, counted_as: str | None = None) -> tuple[int | str, ...]:
    """What a call is counted under, in the order of `DIMENSION_NAMES`; `counted_as` is the model where
    none answered."""
    return (
        call.token_id or 0,
        call.user_id or 0,
        call.provider_id or 0,
        call.endpoint,
        # A name that nothing ever answered to is the client's own text: it gets no row of its own.
        call.model or counted_as or "",
        call.pipeline or "",
        call.status or 0,
        call.cache,
    )


def dimension_id(values: tuple[int | str, ...]) -> int:
    """The id of these values, the same in every process: 63 bits of their hash."""
    raw = blake2b(orjson.dumps(values), digest_size=8).digest()
    return int.from_bytes(raw, "big") >> 1


def _legal(text: str | None, longest: int) -> str | None:
    """A text of a provider's as both databases take it."""
    if text is None or (text.isascii() and len(text) <= longest and text.isprintable()):
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")[:longest]


def _as_text(value: dict[str, Any] | list[Any] | None) -> str | None:
    """JSON; None for what is none (a provider may send anything as its usage)."""
    try:
        return None if value is None else orjson.dumps(value).decode()
    except TypeError:
        return None


def _packed(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row of bodies, compressed where that is worth it."""
    body_id, created_at, _, request, response = row
    if len(request or b"") + len(response or b"") <= COMPRESS_BYTES:
        return row
    texts = (None if text is None else _compressed(text) for text in (request, response))
    return (body_id, created_at, True, *texts)


def _compressed(text: bytes) -> bytes:
    """zlib's form, made with little memory: clearing the usual amount takes longer than the rest,
    and what repeats in such texts lies close together."""
    machine = zlib.compressobj(1, zlib.DEFLATED, _WINDOW_BITS, _MEMORY_LEVEL)
    return machine.compress(text) + machine.flush()
