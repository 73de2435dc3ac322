"""Where the time goes: the event loop's thread under a load, and the threads beside it."""

from __future__ import annotations

import io
import pstats
from pathlib import Path

from bench.gateway import profiled
from bench.load import Bodies
from bench.servers import Servers

_SHOWN = 45


def profile(servers: Servers, name: str, bodies: Bodies, connections: int, path: Path) -> str:
    """Profile a gateway with everything on. The whole profile goes to `path`, its head is given."""
    path.unlink(missing_ok=True)
    upstream = servers.events if name == "streaming" else servers.nginx
    with servers.started(servers.setup("profiled", upstream, profile=path)) as gateway:
        if bodies.kind == "same":
            gateway.prime(bodies)
        gateway.drive(bodies, connections, 1, servers.directory)
        with profiled(gateway) as threads:
            seconds = servers.pace.seconds
            sample = gateway.drive(bodies, connections, seconds, servers.directory)
    text = io.StringIO()
    stats = pstats.Stats(str(path), stream=text)
    stats.strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
    spent = ", ".join(f"{thread} {value:.2f} s" for thread, value in sorted(threads.items()))
    return (
        f"{name}: {sample.requests} calls in {sample.seconds:.1f} s under the profiler, which "
        f"slows what it looks at.\nProcessor time by thread: {spent}\n{text.getvalue()}"
    )
