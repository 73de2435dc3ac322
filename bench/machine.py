"""The machine: whether it has what the benchmark needs, and what it is, for the report."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import statistics
import time
from pathlib import Path
from typing import Any

# The server under test; the load, the upstreams and the benchmark itself.
SERVER_CORE, LOAD_CORE = 0, 1
# Programs by the Debian package that has them.
_TOOLS = {"wrk": "wrk", "nginx": "nginx", "taskset": "util-linux"}
# Where Debian puts nginx, and where people who are not root do not look.
_PATH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"))
_SYNCS = 100


def find_tool(name: str) -> str | None:
    """Where a program is."""
    return shutil.which(name, path=_PATH)


def faults() -> list[str]:
    """What keeps the benchmark from running here, each with the way out."""
    missing = [name for name in _TOOLS if find_tool(name) is None]
    found = []
    if missing:
        packages = " ".join(_TOOLS[name] for name in missing)
        found.append(f"Not found: {', '.join(missing)}. Install: apt-get install {packages}")
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        found.append(
            f"It takes the cores {SERVER_CORE} and {LOAD_CORE}, and this process has not both."
        )
    return found


def describe(directory: Path) -> dict[str, Any]:
    """What figures depend on. `directory` is where the databases will be."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "kernel": platform.release(),
        "sqlite": sqlite3.sqlite_version,
        "sync_ms": round(_sync_ms(directory), 2),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _sync_ms(directory: Path) -> float:
    """How long the disk takes to keep 4 KB for good: what a strict ledger waits for."""
    path = directory / "sync"
    taken = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4_096))
            started = time.perf_counter()
            os.fdatasync(file.fileno())
            taken.append((time.perf_counter() - started) * 1_000)
    path.unlink()
    return statistics.median(taken)
