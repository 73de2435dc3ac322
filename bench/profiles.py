"""Where the time goes: processor time a call, and a profile of the event loop's thread."""

from __future__ import annotations

import io
import pstats
from collections.abc import Callable
from pathlib import Path

from bench import load
from bench.gateway import profiled
from bench.load import Bodies, Load, Sample
from bench.processes import Child
from bench.servers import Servers

_SHOWN = 45
_BLOCKS = {"hits": "lookup", "forwarded": "forward", "streaming": "stream"}


def profile(servers: Servers, name: str, bodies: Bodies, connections: int, path: Path) -> str:
    """Look into a gateway with everything on. The whole profile goes to `path`, its head is given.

    Processor time is measured without the profiler, which makes all it looks at slower.
    """
    path.unlink(missing_ok=True)
    block = Load(servers.block(_BLOCKS[name]), bodies, connections)
    upstream = servers.events if name == "streaming" else servers.nginx
    seconds, directory = servers.pace.seconds, servers.directory
    with servers.started(servers.setup("profiled", upstream, profile=path)) as gateway:
        measures: dict[str, tuple[Child, Callable[[], Sample]]] = {
            "raw block": (
                servers.block_child(_BLOCKS[name]), lambda: load.run(block, seconds, directory)
            ),
            "gateway": (
                gateway.child, lambda: gateway.drive(bodies, connections, seconds, directory)
            ),
        }  # fmt: skip
        gateway.prime(bodies)
        lines = [f"{who}: {_spent(*measure)}" for who, measure in measures.items()]
        with profiled(gateway):
            gateway.drive(bodies, connections, seconds, directory)
    text = io.StringIO()
    stats = pstats.Stats(str(path), stream=text)
    stats.strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
    return "\n".join([*lines, text.getvalue()])


def _spent(child: Child, run: Callable[[], Sample]) -> str:
    run()
    before = child.processor_seconds()
    calls = run().requests
    loop, others = (
        (after - start) / calls * 1e6
        for after, start in zip(child.processor_seconds(), before, strict=True)
    )
    return f"{loop + others:.0f} µs of processor time a call: loop {loop:.0f}, threads {others:.0f}"
