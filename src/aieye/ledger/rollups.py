"""The arithmetic of the roll-ups: grains of time, bins of latency, percentiles out of bins. Pure.

A call counts in one minute, one hour and one day, and in one latency bin of each. So any window of
whole minutes is a disjoint union of stored buckets (`cover`), and sums over it are exact.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

# Lengths of the kept buckets, in seconds: minute, hour, day. Each divides the next.
GRAINS = (60, 3600, 86400)
MINUTE, HOUR, DAY = GRAINS
# Buckets of a minute are pruned after this; hours and days stay.
MINUTES_KEPT_SECONDS = 35 * DAY

# Upper edges of the latency bins, in milliseconds: 26 edges a constant ratio of 1.703 apart. Bin 0
# ends below 1 ms, bin 26 starts at 600 s. Stored roll-ups refer to them: they never change.
BIN_EDGES_MS = (
    *(1.0, 1.703, 2.899, 4.936, 8.404, 14.31, 24.36, 41.48, 70.63, 120.3, 204.8, 348.6, 593.6),
    *(1_011.0, 1_721.0, 2_930.0, 4_989.0, 8_495.0, 14_460.0, 24_630.0, 41_930.0, 71_390.0),
    *(121_600.0, 207_000.0, 352_400.0, 600_000.0),
)
_EDGES_US = tuple(round(edge * 1000) for edge in BIN_EDGES_MS)


@dataclass(frozen=True, slots=True)
class Span:
    """The stored buckets of one grain with `start <= bucket < stop`, in epoch seconds."""

    grain: int
    start: int
    stop: int


def latency_bin(latency_us: int) -> int:
    """The bin of a latency in microseconds: 0 (under 1 ms) to 26 (600 s and more)."""
    return bisect_right(_EDGES_US, latency_us)


def bucket_of(seconds: int, grain: int) -> int:
    """The start of the bucket that a moment (epoch seconds) falls into."""
    return seconds - seconds % grain


def percentile(counts: Mapping[int, int], q: float) -> float | None:
    """The latency, in ms, that a share `q` (0 to 1) of the calls stayed within; None without calls.

    `counts` is calls a bin. The result lies in the bin of the call of that rank, interpolated on a
    logarithmic scale, so it is wrong by a factor of less than 1.71; under 1 ms by less than 1 ms;
    from 600 s on it is 600 s, a lower bound.
    """
    if not 0 <= q <= 1:
        raise ValueError("q is a share: from 0 to 1")
    rank = max(q * sum(counts.values()), 1.0)
    before = 0
    for number in sorted(number for number, calls in counts.items() if calls):
        if before + counts[number] >= rank:
            return _within(number, (rank - before) / counts[number])
        before += counts[number]
    return None


def _within(number: int, share: float) -> float:
    """The latency, in ms, at a share (0 to 1) of the way through a bin."""
    if number == 0:
        return BIN_EDGES_MS[0] * share
    low = BIN_EDGES_MS[min(number, len(BIN_EDGES_MS)) - 1]
    if number >= len(BIN_EDGES_MS):
        return low
    return float(low * (BIN_EDGES_MS[number] / low) ** share)


def choose_grain(seconds: int) -> int:
    """The grain that shows a window of that length in about 24 to 200 buckets."""
    if seconds <= 3 * HOUR:
        return MINUTE
    return HOUR if seconds <= 8 * DAY else DAY


def cover(since: int, until: int, coarsest: int = DAY) -> list[Span]:
    """The fewest stored buckets whose union is `since <= moment < until`, in order of time.

    Both ends are epoch seconds at whole minutes, and no bucket is longer than `coarsest`, so that
    each falls into one bucket of a series with that grain.
    """
    if since >= until:
        return []
    if coarsest == MINUTE:
        return [Span(MINUTE, since, until)]
    finer = GRAINS[GRAINS.index(coarsest) - 1]
    start, stop = round_up(since, coarsest), bucket_of(until, coarsest)
    if start >= stop:
        return cover(since, until, finer)
    middle = Span(coarsest, start, stop)
    return [*cover(since, start, finer), middle, *cover(stop, until, finer)]


def round_up(seconds: int, grain: int) -> int:
    """The first start of a bucket that is not before a moment (epoch seconds)."""
    return -(-seconds // grain) * grain
