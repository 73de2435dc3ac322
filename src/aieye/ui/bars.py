"""What the bars of a chart over a period are called, in full and on the axis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from aieye.ledger.periods import Cut
from aieye.ledger.rollups import DAY
from aieye.ui.charts.ticks import round_ticks
from aieye.ui.ranges import Range


def bar_names(this: Cut, period: Range) -> Sequence[str]:
    """The bars in full. Days are those of UTC, as they are stored."""
    if this.step == DAY:
        return [f"{moment:%Y-%m-%d} UTC" for moment in _moments(this, period)]
    if this.step > DAY:
        return [f"from {moment:%Y-%m-%d} UTC" for moment in _moments(this, period)]
    return [f"{moment:%Y-%m-%d %H:%M %Z}" for moment in _moments(this, period)]


def bar_ticks(this: Cut, period: Range) -> Sequence[str]:
    """The bars on the axis, where they have a name there."""
    return round_ticks(_moments(this, period))


def _moments(this: Cut, period: Range) -> Sequence[datetime]:
    zone = UTC if this.step >= DAY else period.zone
    return [datetime.fromtimestamp(at, zone) for at in this.bars]
