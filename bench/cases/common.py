"""What several cases have in common: the bodies that are sent, and how figures are compared."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench.gateway import Gateway
from bench.load import Bodies
from bench.messages import request
from bench.probe import measure
from bench.report import Row, Target
from bench.servers import Servers

SAME, UNIQUE = Bodies(request(), "same"), Bodies(request())
UNIQUE_STREAM = Bodies(request(is_stream=True))
HIT_CONNECTIONS, FORWARD_CONNECTIONS, STREAM_CONNECTIONS = 64, (16, 64), 16
BLOCKS = {
    "fixed": "raw fixed answer",
    "lookup": "raw hash + lookup",
    "forward": "raw aiohttp",
    "stream": "raw aiohttp",
}

HITS = Target(0.35, 0.60, of="ratio")
FORWARDED = Target(0.45, 0.70, of="ratio")
ADDED_P50 = Target(1.2, 0.7, is_ceiling=True)
ADDED_P99 = Target(3.0, 1.7, is_ceiling=True)


def connections(count: int) -> str:
    """`1 connection`, `64 connections`."""
    return "1 connection" if count == 1 else f"{count} connections"


def hit_rate(
    servers: Servers, gateway: Gateway, target: Target | None = None, *, suffix: str = ""
) -> Row:
    """Answers from the cache against the block that only hashes and looks up."""
    rates = servers.pace.medians(
        {
            "raw": servers.block_rate("lookup", SAME, HIT_CONNECTIONS),
            "ours": servers.rate(gateway, SAME, HIT_CONNECTIONS),
        }
    )
    name = f"cache hits, {connections(HIT_CONNECTIONS)}{suffix}"
    return Row(name, rates["ours"], "/s", rates["raw"], BLOCKS["lookup"], target)


def forward_rates(
    servers: Servers, gateway: Gateway, target: Target | None = None, *, suffix: str = ""
) -> Iterator[Row]:
    """Calls that go up, no two of them alike, against the block that only forwards."""
    for count in FORWARD_CONNECTIONS:
        rates = servers.pace.medians(
            {
                "raw": servers.block_rate("forward", UNIQUE, count),
                "ours": servers.rate(gateway, UNIQUE, count),
            }
        )
        name = f"forwarded, {connections(count)}{suffix}"
        yield Row(name, rates["ours"], "/s", rates["raw"], BLOCKS["forward"], target)


def added_latency(
    servers: Servers, gateway: Gateway, *, has_targets: bool = True, suffix: str = ""
) -> Iterator[Row]:
    """What a forwarded call takes longer than one sent straight to the upstream, one at a time."""
    seconds = servers.pace.seconds
    port = servers.block("forward")
    taken = servers.pace.latencies(
        {
            "direct": partial(measure, servers.nginx.port, UNIQUE, seconds),
            "raw": partial(measure, port, UNIQUE, seconds),
            "ours": partial(gateway.latencies, UNIQUE, seconds, cache="miss"),
        }
    )
    direct, raw, ours = taken["direct"], taken["raw"], taken["ours"]
    for name, share, target in (("p50", 0.5, ADDED_P50), ("p99", 0.99, ADDED_P99)):
        without = direct.percentile(share)
        yield Row(
            f"added latency, {connections(1)}, {name}{suffix}",
            ours.percentile(share) - without,
            "ms",
            raw.percentile(share) - without,
            BLOCKS["forward"],
            target if has_targets else None,
        )
