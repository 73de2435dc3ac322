"""Counts and lengths as providers state them, made credible."""

from __future__ import annotations

from typing import Any, Final

from aieye.gateway.usage.figures import MAX_TOKENS

NO_COUNT: Final = (None, 0)
"""What says no more than that nothing was counted."""

_MAX_SECONDS: Final = 10_000_000
_NO_DETAILS: dict[str, Any] = {}


class Counts:
    """Takes counts from a usage object and notes whether one of them could not be true."""

    __slots__ = ("anomaly",)

    def __init__(self) -> None:
        self.anomaly = False

    def count(self, place: dict[str, Any], *names: str) -> int:
        """Return the first count among `names` that says more than nothing, else 0."""
        for name in names:
            value = place.get(name)
            if value not in NO_COUNT:
                return self._credible(value)
        return 0

    def details(self, raw: dict[str, Any], *names: str) -> dict[str, Any]:
        """Return the first breakdown among `names`, else an empty one."""
        for name in names:
            value = raw.get(name)
            if isinstance(value, dict):
                return value
            self.anomaly = self.anomaly or value is not None
        return _NO_DETAILS

    def at_most(self, whole: int, part: int) -> int:
        """Return a part that does not exceed its whole."""
        if part <= whole:
            return part
        self.anomaly = True
        return whole

    def _credible(self, value: object) -> int:
        if type(value) is int and 0 <= value <= MAX_TOKENS:
            return value
        self.anomaly = True
        return int(value) if isinstance(value, float) and 0 <= value <= MAX_TOKENS else 0


def milliseconds(seconds: object) -> int:
    """Return a length of time in whole milliseconds; 0 for what is none."""
    if isinstance(seconds, int | float) and 0 <= seconds <= _MAX_SECONDS:
        return round(seconds * 1000)
    return 0
