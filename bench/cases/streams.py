"""Streams: as fast as they can, and many slow ones at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from bench.cases.common import BLOCKS, STREAM_CONNECTIONS, UNIQUE_STREAM
from bench.crowd import watch
from bench.gateway import Gateway
from bench.ledger import check_booked, mark
from bench.messages import EVENTS
from bench.probe import Latencies, measure
from bench.report import Result, Row, Target
from bench.servers import Servers
from bench.upstream import Events

_EVENT_RATE = Target(100_000, 170_000)
_FIRST_EVENT_P99 = Target(5.0, is_ceiling=True)
_FEWEST_PACED_EVENTS = 30
# How many streams at once; with each, the targets for broken ones and for the lag.
_CROWDS = (
    (500, Target(0, is_ceiling=True), Target(50.0, is_ceiling=True)),
    (1_000, Target(None, 0, is_ceiling=True), Target(None, 50.0, is_ceiling=True)),
)


def streaming(servers: Servers) -> Iterator[Result]:
    """Streams whose events are all there at once."""
    rates = servers.pace.medians(
        {
            "raw": servers.block_rate("stream", UNIQUE_STREAM, STREAM_CONNECTIONS),
            "ours": servers.rate(servers.streaming, UNIQUE_STREAM, STREAM_CONNECTIONS),
        }
    )
    events, floor = rates["ours"] * EVENTS, rates["raw"] * EVENTS
    name = f"events of {STREAM_CONNECTIONS} streams of {EVENTS}"
    yield Row(name, events, "/s", floor, BLOCKS["stream"], _EVENT_RATE)
    yield from _added_to_first_event(servers)


def _added_to_first_event(servers: Servers) -> Iterator[Result]:
    seconds = servers.pace.seconds

    def first_events(port: int) -> Callable[[], Latencies]:
        return partial(measure, port, UNIQUE_STREAM, seconds, until="first event")

    taken = servers.pace.latencies(
        {
            "direct": first_events(servers.events.port),
            "raw": first_events(servers.block("stream")),
            "ours": partial(
                servers.streaming.latencies, UNIQUE_STREAM, seconds,
                cache="miss", until="first event",
            ),
        }
    )  # fmt: skip
    for name, share, target in (("p50", 0.5, None), ("p99", 0.99, _FIRST_EVENT_P99)):
        without = taken["direct"].percentile(share)
        yield Row(
            f"added to the first event, 1 stream, {name}",
            taken["ours"].percentile(share) - without,
            "ms",
            taken["raw"].percentile(share) - without,
            BLOCKS["stream"],
            target,
        )


def paced(servers: Servers) -> Iterator[Result]:
    """Many slow streams at once, all of them metered."""
    events = max(_FEWEST_PACED_EVENTS, int(servers.pace.seconds * 10))
    upstream = replace(servers.events, path=f"/paced/{events}")
    with servers.started(servers.setup("paced", upstream)) as gateway:
        # The first call loads the price list, which is not what is measured.
        gateway.prime(UNIQUE_STREAM)
        for count, none_broken, lag_p99 in _CROWDS:
            yield from _crowd(gateway, upstream, count, events, none_broken, lag_p99)


def _crowd(
    gateway: Gateway,
    upstream: Events,
    count: int,
    events: int,
    none_broken: Target,
    lag_p99: Target,
) -> Iterator[Result]:
    direct = watch(upstream.port, UNIQUE_STREAM, streams=count, events=events, prefix=upstream.path)
    since = mark()
    ours = watch(
        gateway.site.port, UNIQUE_STREAM, streams=count, events=events, token=gateway.site.token
    )
    name = f"{count:,} streams at 10 events/s"
    yield Row(f"{name}, broken", ours.broken, "broken", target=none_broken)
    yield Row(f"{name}, lag p99", ours.lags.p99, "ms", direct.lags.p99, "direct", lag_p99)
    if ours.broken == 0:
        check_booked(gateway.site.database_url, since, cache="miss", calls=count, in_flight=0)
