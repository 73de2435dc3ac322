"""What processing by a preset takes longer than the same call on `/v1`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Literal

from bench.gateway import Cache, Gateway
from bench.load import Bodies
from bench.messages import completion_request, preset, process_request
from bench.report import Result, Row, Target
from bench.servers import Servers

_CREATE = "/_saga/gpt3/create"
_PROMPT = "The following is a conversation with an assistant that answers briefly.\n\nHuman: "
_KINDS: tuple[tuple[str, Literal["unique", "same"], Cache], ...] = (
    ("forwarded", "unique", "miss"),
    ("a hit", "same", "hit"),
)
_OVERHEAD = Target(0.5, 0.25, is_ceiling=True)


def presets(servers: Servers) -> Iterator[Result]:
    """Calls that go up, and hits, one at a time, in turns with those of `/v1`."""
    gateway, seconds = servers.gateway, servers.pace.seconds
    preset_id = _make(gateway)
    for name, kind, cache in _KINDS:
        direct = Bodies(completion_request(_PROMPT), kind)
        processed = Bodies(process_request(preset_id), kind)
        if cache == "hit":
            # They ask the same: one fills the cache for the other.
            gateway.prime(direct)
        taken = servers.pace.latencies(
            {
                "direct": partial(gateway.latencies, direct, seconds, cache=cache),
                "processed": partial(gateway.latencies, processed, seconds, cache=cache),
            }
        )
        without, took = taken["direct"], taken["processed"]
        for figure, share in (("p50", 0.5), ("p99", 0.99)):
            yield Row(
                f"process over the same call on /v1, {name}, {figure}",
                took.percentile(share) - without.percentile(share),
                "ms",
                target=_OVERHEAD if figure == "p50" else None,
            )


def _make(gateway: Gateway) -> str:
    """The id of a new configuration."""
    return str(gateway.post(_CREATE, preset(_PROMPT))["_id"])
