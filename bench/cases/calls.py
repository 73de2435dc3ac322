"""Calls answered whole: the floors, hits, forwarded calls, latency, and LiteLLM beside them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench import peers
from bench.cases.common import (
    ADDED_P50,
    ADDED_P99,
    BLOCKS,
    FORWARD_CONNECTIONS,
    FORWARDED,
    HIT_CONNECTIONS,
    HITS,
    SAME,
    UNIQUE,
    UNIQUE_STREAM,
    added_latency,
    connections,
    forward_rates,
    hit_rate,
)
from bench.probe import measure
from bench.report import Line, Result, Row, Target
from bench.servers import Servers

_LITELLM_FORWARDED = Target(30, 50, of="ratio")
_LITELLM_HITS = Target(60, 110, of="ratio")


def blocks(servers: Servers) -> Iterator[Result]:
    """The floors by themselves."""
    for name, bodies, counts in (
        ("fixed", SAME, (1, 16, 64)),
        ("lookup", SAME, (1, 16, 64)),
        ("forward", UNIQUE, (1, 16, 64)),
        ("stream", UNIQUE_STREAM, (1, 16)),
    ):
        for count in counts:
            rate = servers.pace.medians({name: servers.block_rate(name, bodies, count)})[name]
            what = ", streams" if name == "stream" else ""
            yield Row(f"{BLOCKS[name]}{what}, {connections(count)}", rate, "/s")


def hits(servers: Servers) -> Iterator[Result]:
    """Answers from the cache."""
    yield hit_rate(servers, servers.gateway, HITS)


def forwarded(servers: Servers) -> Iterator[Result]:
    """Calls that go to an upstream which answers at once."""
    yield from forward_rates(servers, servers.gateway, FORWARDED)


def latency(servers: Servers) -> Iterator[Result]:
    """What the gateway adds to a call, one at a time, and how long a hit takes."""
    yield from added_latency(servers, servers.gateway)
    seconds = servers.pace.seconds
    servers.gateway.prime(SAME)
    taken = servers.pace.latencies(
        {
            "raw": partial(measure, servers.block("lookup"), SAME, seconds),
            "hit": partial(servers.gateway.latencies, SAME, seconds, cache="hit"),
        }
    )
    hit, raw = taken["hit"], taken["raw"]
    yield Row("latency of a hit, p50", hit.p50, "ms", raw.p50, BLOCKS["lookup"], ADDED_P50)
    yield Row("latency of a hit, p99", hit.p99, "ms", raw.p99, BLOCKS["lookup"], ADDED_P99)


def litellm(servers: Servers) -> Iterator[Result]:
    """LiteLLM's proxy in the same run."""
    command = peers.find()
    if command is None:
        yield Line("LiteLLM", peers.HOW)
        return
    directory, seconds = servers.new_directory("litellm"), servers.pace.seconds
    with peers.running_litellm(command, servers.nginx, directory) as peer:
        for name, bodies, count, target in (
            ("forwarded", UNIQUE, FORWARD_CONNECTIONS[0], _LITELLM_FORWARDED),
            ("cache hits", SAME, HIT_CONNECTIONS, _LITELLM_HITS),
        ):
            rates = servers.pace.medians(
                {
                    "theirs": peer.rate(bodies, count, seconds, servers.directory),
                    "ours": servers.rate(servers.gateway, bodies, count),
                }
            )
            beside = f"{name} beside LiteLLM, {connections(count)}"
            yield Row(
                beside, rates["ours"], "/s", rates["theirs"], f"LiteLLM {peer.version}", target
            )
