"""The server of a soak seen from outside: its memory, its sockets, its tasks."""

from __future__ import annotations

import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.live import LiveServer

# The server prints how many tasks its loop has whenever it is asked by this signal.
PROGRAM = (
    "-c",
    "import asyncio, signal\n"
    "from aieye.cli import main\n"
    "def tell(*_):\n"
    "    print('soak: tasks', len(asyncio.all_tasks()), flush=True)\n"
    "signal.signal(signal.SIGUSR1, tell)\n"
    "main()",
)
_TASKS = re.compile(r"^soak: tasks (\d+)$", re.MULTILINE)
_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The server at one moment; `at` is seconds since the start of the run."""

    at: float
    resident_bytes: int
    sockets: int
    tasks: int


def sample(server: LiveServer, at: float) -> Sample:
    """Look at a server that runs `PROGRAM`. Blocks."""
    process = Path(f"/proc/{server.pid}")
    pages = int((process / "statm").read_text().split()[1])
    return Sample(at, pages * os.sysconf("SC_PAGE_SIZE"), _sockets(process), _tasks(server))


def growth(samples: list[Sample]) -> float:
    """By which share the memory grew from the second quarter of the run to the last one; in the first
    one caches fill."""
    quarter = len(samples) // 4
    early = [one.resident_bytes for one in samples[quarter : 2 * quarter]]
    late = [one.resident_bytes for one in samples[-quarter:]]
    return sum(late) / len(late) / (sum(early) / len(early)) - 1


def _sockets(process: Path) -> int:
    count = 0
    for file in (process / "fd").iterdir():
        try:
            count += os.readlink(file).startswith("socket:")
        except FileNotFoundError:
            # Closed since it was listed.
            continue
    return count


def _tasks(server: LiveServer) -> int:
    before = len(_TASKS.findall(server.output()))
    os.kill(server.pid, signal.SIGUSR1)
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline:
        told = _TASKS.findall(server.output())
        if len(told) > before:
            return int(told[-1])
        time.sleep(0.02)
    raise AssertionError(f"the server did not answer within {_ANSWER_SECONDS:g} s")
