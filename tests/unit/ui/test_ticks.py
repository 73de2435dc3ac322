"""What stands on the axis of a chart over time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from aieye.ui.charts import Series, round_ticks, stacked
from aieye.ui.charts.ticks import MOST_TICKS

THURSDAY = datetime(2026, 11, 26, 20, 0, tzinfo=UTC)


def bars(count: int, last: datetime = THURSDAY, **step: int) -> list[datetime]:
    return [last - timedelta(**step) * (count - 1 - i) for i in range(count)]


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        (bars(14, minutes=1), ["19:48", "19:50", "19:52", "19:54", "19:56", "19:58", "20:00"]),
        (bars(31, minutes=2), ["19:10", "19:20", "19:30", "19:40", "19:50", "20:00"]),
        (bars(25, hours=1), ["Thu 26", "04:00", "08:00", "12:00", "16:00", "20:00"]),
        (
            bars(29, last=THURSDAY.replace(hour=18), hours=6),
            ["20 Nov", "21 Nov", "22 Nov", "23 Nov", "24 Nov", "25 Nov", "26 Nov"],
        ),
        (bars(30, days=1), ["31 Oct", "4 Nov", "8 Nov", "12 Nov", "16 Nov", "20 Nov", "24 Nov"]),
        (bars(60, days=13), ["Jan 2025", "Jul 2025", "Jan 2026", "Jul 2026"]),
    ],
)  # fmt: skip
def test_round_moments_are_named(moments: list[datetime], expected: list[str]) -> None:
    ticks = round_ticks(moments)
    assert len(ticks) == len(moments)
    assert [tick for tick in ticks if tick] == expected


def test_a_bar_that_no_round_moment_begins_says_when_it_does() -> None:
    kolkata = ZoneInfo("Asia/Kolkata")
    moments = [moment.astimezone(kolkata) for moment in bars(20, hours=1)]
    assert round_ticks(moments)[:4] == ["", "", "", "09:30"]
    assert [tick for tick in round_ticks(moments) if tick][-1] == "Fri 00:30"


@pytest.mark.parametrize("count", [0, 1, 2, 60])
@pytest.mark.parametrize("days", [0, 1, 100, 10_000])
def test_any_period_has_few(count: int, days: int) -> None:
    ticks = round_ticks(bars(count, last=datetime(9998, 1, 1), days=days, minutes=1))
    assert len(ticks) == count
    assert sum(map(bool, ticks)) <= MOST_TICKS


def test_each_stands_under_its_bar_and_the_outermost_inwards() -> None:
    drawn = stacked(
        ["a"] * 50,
        [Series("one", [1.0] * 50)],
        title="t",
        ticks=["x", *[""] * 24, "<y>", *[""] * 23, "z"],
    )
    assert '<text x="1%" y="12" text-anchor="start">x</text>' in drawn
    assert '<text x="51%" y="12" text-anchor="middle">&lt;y&gt;</text>' in drawn
    assert '<text x="99%" y="12" text-anchor="end">z</text>' in drawn
