"""What a chart over time shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """One layer of a chart: a value for each bucket. `href` is where its legend entry leads."""

    name: str
    values: Sequence[float]
    href: str | None = None
    # The same in every chart that shows this name; None takes that of its place in this one.
    colour: int | None = None
