"""What running a saved pipeline takes longer than a bare route that reads a body and answers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from bench.cases.common import BLOCKS
from bench.gateway import Gateway
from bench.load import Bodies
from bench.messages import run_request
from bench.probe import measure
from bench.report import Result, Row, Target
from bench.servers import Servers

_OVER_A_BARE_ROUTE = Target(2.0, 0.8, is_ceiling=True)


def runs(servers: Servers) -> Iterator[Result]:
    """`POST /api/pipeline/call` with one inline step, one at a time, in turns with the bare route."""
    gateway, seconds = servers.gateway, servers.pace.seconds
    bodies = Bodies(run_request(_make(gateway)))
    taken = servers.pace.latencies(
        {
            "raw": partial(measure, servers.block("lookup"), bodies, seconds),
            "ours": partial(measure, gateway.site.port, bodies, seconds, token=gateway.site.token),
        }
    )
    raw, ours = taken["raw"], taken["ours"]
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        yield Row(
            f"a run of one inline step over {BLOCKS['lookup']}, {name}",
            ours.percentile(share) - raw.percentile(share),
            "ms",
            target=_OVER_A_BARE_ROUTE if name == "p50" else None,
        )


def _make(gateway: Gateway) -> int:
    """The id of a new pipeline."""
    saved = gateway.post("/api/v1/pipelines", {"name": "bench", "source": "uppercase(text)"})
    return int(saved["id"])
