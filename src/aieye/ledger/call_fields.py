"""A call as it is told: the fields of the administrators' API, of exports and of pages."""

from __future__ import annotations

from typing import Any

from aieye.access.snapshot import DEMO_ID, DEMO_PROVIDER
from aieye.ledger.pricing import format_usd
from aieye.ledger.queries import FoundCall

_SAME_COLUMNS = (
    "id", "created_at", "endpoint", "model", "model_asked", "status", "state", "error", "cache",
    "tokens_input", "tokens_cached", "tokens_output", "tokens_reasoning", "cost_state", "usage",
    "token_id", "key_id", "upstream_request_id", "run_id", "pipeline", "step",
)  # fmt: skip


def call_fields(found: FoundCall) -> dict[str, Any]:
    """Money is dollars as a decimal text, None where unknown; times are milliseconds.

    Attempts come without `detail`: it names addresses, and whoever called may not know them.
    """
    call = found.call
    return {
        **{name: getattr(call, name) for name in _SAME_COLUMNS},
        "request_id": f"req_{call.id}",
        "stream": call.is_stream,
        "cost_usd": usd(call.cost_nano),
        "saved_usd": usd(call.saved_nano),
        "price": found.price,
        "latency_ms": milliseconds(call.latency_us),
        "ttft_ms": milliseconds(call.ttft_us),
        "token_name": found.token_name,
        "user": found.user,
        "provider": provider_name(found),
        "tags": call.tags or {},
        "attempts": [
            {name: said for name, said in one.items() if name != "detail"}
            for one in call.attempts or []
        ],
    }


def provider_name(found: FoundCall) -> str | None:
    """The simulated provider has no row, and its id is that of none."""
    return DEMO_PROVIDER if found.call.provider_id == DEMO_ID else found.provider


def usd(nano: int | None) -> str | None:
    """Nano-dollars as programs see money: dollars, a decimal text."""
    return None if nano is None else format_usd(nano)


def milliseconds(micros: float | None) -> float | None:
    """Microseconds in milliseconds."""
    return None if micros is None else round(micros / 1000, 3)
