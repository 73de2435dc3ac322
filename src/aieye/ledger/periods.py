"""How a period of time is cut for a chart of it: which buckets are read and into how many drawn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aieye.ledger.rollups import DAY, HOUR, MINUTE, MINUTES_KEPT_SECONDS, Span, cover, round_up

# Up to so many seconds: the stored buckets to read, and how many seconds of them a bar shows.
_CUTS = (
    (20 * MINUTE, MINUTE, MINUTE),
    (90 * MINUTE, MINUTE, 2 * MINUTE),
    (7 * HOUR, MINUTE, 10 * MINUTE),
    (36 * HOUR, HOUR, HOUR),
    (8 * DAY, HOUR, 6 * HOUR),
)
_MOST_BARS = 60


@dataclass(frozen=True, slots=True)
class Cut:
    """A period in epoch seconds, `since <= moment < until`, and what it is read and drawn by.

    Both ends are whole minutes. `until` of a period that goes on to the present is the end of the
    bucket that is being filled: nothing lies in the future, so the sums are the same.
    """

    since: int
    until: int
    grain: int
    step: int

    @property
    def spans(self) -> Sequence[Span]:
        """The stored buckets that the period is made of."""
        return cover(self.since, self.until, self.grain)

    @property
    def bars(self) -> Sequence[int]:
        """Where each bar begins; the first may lie before the period, of which it shows a part."""
        return range(self.since - self.since % self.step, self.until, self.step)


def cut(since: int, until: int, *, now: int) -> Cut:
    """Cut the period between two moments (epoch seconds)."""
    start, stop = _end(since, now), _end(until, now)
    seconds = stop - start
    days = max(1, -(-seconds // (_MOST_BARS * DAY)))
    grain, step = next(
        ((grain, step) for most, grain, step in _CUTS if seconds <= most), (DAY, days * DAY)
    )
    if start < now - MINUTES_KEPT_SECONDS:
        grain, step = max(grain, HOUR), max(step, HOUR)
    if stop >= now:
        # The second that is running belongs to it, also where a bucket begins with it.
        stop = round_up(max(stop, now + 1), step)
    return Cut(start, stop, grain, step)


def before(this: Cut, until: int, *, now: int) -> Cut:
    """The period of the same length before one that in fact ends at `until` (epoch seconds)."""
    length = min(this.until, _end(until, now)) - this.since
    return Cut(_end(this.since - length, now), this.since, this.grain, this.step)


def _end(moment: int, now: int) -> int:
    """The end of a period, rounded up to the shortest buckets that are still kept there."""
    return round_up(moment, MINUTE if moment > now - MINUTES_KEPT_SECONDS else HOUR)
