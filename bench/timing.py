"""How long a small piece of work takes on a machine that others use too."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

# Calls that are timed together: short enough to end before the machine gives the core to another.
BATCH_SECONDS = 0.002


def least_seconds(work: Callable[[], object], for_seconds: float) -> float:
    """Seconds of the processor's time that one call takes, of work that waits for nothing: the least
    of many batches, since all that disturbs one only adds."""
    least, count, end = inf, 1, time.perf_counter() + for_seconds
    while time.perf_counter() < end:
        started = time.thread_time()
        for _ in range(count):
            work()
        least = min(least, (time.thread_time() - started) / count)
        count = max(1, round(BATCH_SECONDS / least))
    return least
