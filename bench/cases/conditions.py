"""The same under other conditions: other ledgers, PostgreSQL, full tables, and the start."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from bench import postgresql
from bench.cases.common import (
    FORWARD_CONNECTIONS,
    HIT_CONNECTIONS,
    SAME,
    STREAM_CONNECTIONS,
    UNIQUE,
    UNIQUE_STREAM,
    added_latency,
    connections,
    forward_rates,
    hit_rate,
)
from bench.fill import fill
from bench.gateway import Cache, Gateway, Site, prepare, serving
from bench.load import Bodies
from bench.messages import EVENTS
from bench.report import Line, Result, Row, Target
from bench.servers import Servers
from bench.upstream import Upstream

_LOST = Target(30, 15, is_ceiling=True)
_START = Target(1.5, 0.8, is_ceiling=True)
_MEMORY = Target(120, 95, is_ceiling=True)
# "Does not depend" as figures: what two runs of the very same may differ by.
_AS_FAST = Target(0.85, of="ratio")
_AS_SOON = Target(1.15, of="ratio", is_ceiling=True)
_STARTS = 5
_IDLE_SECONDS = 2.0
_FEW, _MANY = 1_000, 1_000_000


def ledger(servers: Servers) -> Iterator[Result]:
    """What the strict ledger costs."""
    for name, with_it, without in _beside(servers, has_ledger=False):
        yield Row(f"{name}, ledger on", with_it, "/s", without, "ledger off")
        yield Row(f"{name}, lost to the ledger", (1 - with_it / without) * 100, "%", target=_LOST)


def relaxed(servers: Servers) -> Iterator[Result]:
    """Relaxed durability."""
    for name, strict, loose in _beside(servers, is_strict=False):
        yield Row(f"{name}, relaxed ledger", loose, "/s", strict, "strict")


def _beside(servers: Servers, **change: Any) -> Iterator[tuple[str, float, float]]:
    """Hits and forwarded calls with everything on and with a change, measured in turns.

    Both gateways are new: one that has worked for a while has more to remember.
    """
    with (
        servers.started(servers.setup("usual")) as usual,
        servers.started(servers.setup("changed", **change)) as changed,
    ):
        for name, bodies in (("cache hits", SAME), ("forwarded", UNIQUE)):
            rates = servers.pace.medians(
                {
                    "usual": servers.rate(usual, bodies, HIT_CONNECTIONS),
                    "changed": servers.rate(changed, bodies, HIT_CONNECTIONS),
                }
            )
            yield f"{name}, {connections(HIT_CONNECTIONS)}", rates["usual"], rates["changed"]


def on_postgresql(servers: Servers) -> Iterator[Result]:
    """The same on PostgreSQL, which shares its core with the load and the upstream."""
    if not postgresql.is_there():
        yield Line("PostgreSQL", postgresql.MISSING)
        return
    with postgresql.running_postgresql() as address:
        setup = servers.setup("postgresql", database_url=postgresql.new_database(address))
        with servers.started(setup) as gateway:
            suffix = " (PostgreSQL)"
            yield hit_rate(servers, gateway, suffix=suffix)
            yield from forward_rates(servers, gateway, suffix=suffix)
            yield from added_latency(servers, gateway, has_targets=False, suffix=suffix)


def start(servers: Servers) -> Iterator[Result]:
    """From the command to the first ready answer, on a database that needs no migration."""
    site = prepare(servers.setup("start"), servers.new_directory("start"))
    # The first start stores the provider's key.
    with serving(site):
        pass
    taken = []
    for _ in range(_STARTS):
        with serving(site) as gateway:
            taken.append(gateway.start_seconds)
            time.sleep(_IDLE_SECONDS)
            memory = gateway.child.memory_mb()
    yield Row("start to ready", statistics.median(taken), "s", target=_START)
    yield Row("idle memory", memory, "MB", target=_MEMORY)


def sizes(servers: Servers) -> Iterator[Result]:
    """Whether any of it depends on how much is stored already."""
    sites = {size: _filled(servers, size) for size in (_FEW, _MANY)}
    # What was filled in goes to the disk now and not while something is measured.
    os.sync()
    with ExitStack() as stack:
        gateways = {size: stack.enter_context(serving(site)) for size, site in sites.items()}
        yield _rates(servers, gateways, "cache hits", SAME, HIT_CONNECTIONS)
        for count in FORWARD_CONNECTIONS:
            yield _rates(servers, gateways, "forwarded", UNIQUE, count)
        yield from _latencies(servers, gateways, "a hit", SAME, "hit")
        yield from _latencies(servers, gateways, "a forwarded call", UNIQUE, "miss")
    with ExitStack() as stack:
        # With next to no memory, so that each hit is read from the database.
        gateways = {
            size: stack.enter_context(
                serving(replace(site, setup=replace(site.setup, memory_bytes=1)))
            )
            for size, site in sites.items()
        }
        yield _compared(
            "start to ready", {str(size): one.start_seconds for size, one in gateways.items()},
            "s", _START,
        )  # fmt: skip
        time.sleep(_IDLE_SECONDS)
        yield _compared(
            "idle memory", {str(size): one.child.memory_mb() for size, one in gateways.items()},
            "MB", _MEMORY,
        )  # fmt: skip
        bodies = {size: replace(SAME, kind="stored", count=size) for size in sites}
        measures = {
            str(size): servers.rate(gateway, bodies[size], HIT_CONNECTIONS)
            for size, gateway in gateways.items()
        }
        yield _compared(
            f"cache hits from the database, {connections(HIT_CONNECTIONS)}",
            servers.pace.medians(measures),
            "/s",
            _AS_FAST,
        )
    sites = {size: _filled(servers, size, servers.events) for size in (_FEW, _MANY)}
    os.sync()
    with ExitStack() as stack:
        gateways = {size: stack.enter_context(serving(site)) for size, site in sites.items()}
        name = f"streams of {EVENTS} events"
        yield _rates(servers, gateways, name, UNIQUE_STREAM, STREAM_CONNECTIONS)


def _filled(servers: Servers, size: int, upstream: Upstream | None = None) -> Site:
    setup = servers.setup(f"filled-{size}", upstream)
    site = prepare(setup, servers.new_directory("filled"))
    fill(site.database_file, calls=size, entries=size, template=SAME.template)
    return site


def _rates(
    servers: Servers, gateways: Mapping[int, Gateway], name: str, bodies: Bodies, count: int
) -> Row:
    rates = servers.pace.medians(
        {str(size): servers.rate(gateway, bodies, count) for size, gateway in gateways.items()}
    )
    return _compared(f"{name}, {connections(count)}", rates, "/s", _AS_FAST)


def _latencies(
    servers: Servers, gateways: Mapping[int, Gateway], name: str, bodies: Bodies, cache: Cache
) -> Iterator[Row]:
    taken = servers.pace.latencies(
        {
            str(size): partial(gateway.latencies, bodies, servers.pace.seconds, cache=cache)
            for size, gateway in gateways.items()
        }
    )
    for percentile, share in (("p50", 0.5), ("p99", 0.99)):
        by_size = {size: latencies.percentile(share) for size, latencies in taken.items()}
        # What little the slowest hundredth is made of differs from run to run.
        target = _AS_SOON if percentile == "p50" else None
        yield _compared(f"latency of {name}, {percentile}", by_size, "ms", target)


def _compared(name: str, by_size: Mapping[str, float], unit: str, target: Target | None) -> Row:
    return Row(
        f"{name}, {_MANY:,} stored",
        by_size[str(_MANY)],
        unit,
        by_size[str(_FEW)],
        f"{_FEW:,} stored",
        target,
    )
