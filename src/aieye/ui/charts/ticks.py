"""Which bars of a chart over time its axis names: those where a round hour, day or month begins. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

MOST_TICKS = 7
_DAY = 24 * 60
# In minutes; the largest are days.
_UNITS = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720, *(n * _DAY for n in (1, 2, 4, 7, 14)))
_MONTHS = (1, 2, 3, 6, *(12 * years for years in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)))


def round_ticks(moments: Sequence[datetime]) -> list[str]:
    """A short name for some bars, "" for the others. `moments`: where they begin, as they are to be read."""
    for minutes in _UNITS:
        chosen = _changes([_minutes(moment) // minutes for moment in moments])
        if len(chosen) <= MOST_TICKS:
            return _named(moments, chosen, _day if minutes >= _DAY else None)
    for months in _MONTHS:
        chosen = _changes([(moment.year * 12 + moment.month - 1) // months for moment in moments])
        if len(chosen) <= MOST_TICKS:
            break
    return _named(moments, chosen, _month)


def _minutes(moment: datetime) -> int:
    return moment.toordinal() * _DAY + moment.hour * 60 + moment.minute


def _changes(units: Sequence[int]) -> list[int]:
    """The places at which a unit begins. Nobody knows that of the first bar."""
    return [i for i in range(1, len(units)) if units[i] != units[i - 1]]


def _named(
    moments: Sequence[datetime], chosen: Sequence[int], name: Callable[[datetime], str] | None
) -> list[str]:
    ticks = [""] * len(moments)
    before = moments[0] if moments else None
    for i in chosen:
        ticks[i] = _hour(moments[i], before) if name is None else name(moments[i])
        before = moments[i]
    return ticks


def _hour(moment: datetime, before: datetime | None) -> str:
    """The time of day; the first on another day says which."""
    if before is None or moment.date() == before.date():
        return f"{moment:%H:%M}"
    return f"{moment:%a} {moment.day}" if f"{moment:%H%M}" == "0000" else f"{moment:%a %H:%M}"


def _day(moment: datetime) -> str:
    return f"{moment.day} {moment:%b}"


def _month(moment: datetime) -> str:
    return f"{moment:%b %Y}"
