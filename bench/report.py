"""The table: each figure, what it is compared with, what was aimed at, and whether that was met."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

MET, AIM_MET, MISSED, AIM_MISSED, INVALID = "met", "aim met", "MISSED", "aim missed", "INVALID"
_HEADINGS = ("case", "figure", "compared with", "ratio", "at least", "aim", "verdict")


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be reached, by the figure itself or by its ratio to what it is compared with."""

    at_least: float | None
    aim: float | None = None
    of: Literal["figure", "ratio"] = "figure"
    is_ceiling: bool = False

    def verdict(self, reached: float) -> str:
        """How `reached` compares."""
        if self._is_reached(self.aim, reached):
            return AIM_MET
        if self.at_least is None:
            return AIM_MISSED
        return MET if self._is_reached(self.at_least, reached) else MISSED

    def _is_reached(self, bound: float | None, reached: float) -> bool:
        if bound is None:
            return False
        return reached <= bound if self.is_ceiling else reached >= bound


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `against` is the figure it is compared with, in the same unit."""

    case: str
    figure: float
    unit: str
    against: float | None = None
    against_name: str = ""
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        return self.figure / self.against if self.against else None

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        reached = self.ratio if self.target.of == "ratio" else self.figure
        return INVALID if reached is None else self.target.verdict(reached)

    def cells(self) -> tuple[str, ...]:
        """The row as it is printed."""
        target = self.target
        unit = "×" if target is not None and target.of == "ratio" else self.unit
        against = ""
        if self.against is not None:
            against = f"{_written(self.against, self.unit)} {self.against_name}".strip()
        return (
            self.case,
            _written(self.figure, self.unit),
            against,
            "" if self.ratio is None else f"{self.ratio:.2f}",
            "" if target is None or target.at_least is None else _bound(target.at_least, unit),
            "" if target is None or target.aim is None else _bound(target.aim, unit),
            self.verdict,
        )


@dataclass(frozen=True, slots=True)
class Line:
    """Something to be said in the place of figures."""

    case: str
    text: str
    is_fault: bool = False


Result = Row | Line


def table(results: Sequence[Result]) -> str:
    """All results as plain text."""
    rows = [_HEADINGS, *(result.cells() for result in results if isinstance(result, Row))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_line(_HEADINGS, widths), "  ".join("-" * width for width in widths)]
    for result in results:
        if isinstance(result, Row):
            lines.append(_line(result.cells(), widths))
        elif result.is_fault:
            lines.append(f"{result.case}: {INVALID}, {result.text}")
        else:
            lines.append(f"{result.case}: {result.text}")
    return "\n".join(lines)


def save(path: Path, machine: Mapping[str, Any], results: Iterable[Result]) -> None:
    """Write all results as JSON."""
    written = [
        {**asdict(result), "ratio": result.ratio, "verdict": result.verdict}
        if isinstance(result, Row)
        else asdict(result)
        for result in results
    ]
    path.write_text(json.dumps({"machine": dict(machine), "results": written}, indent=2) + "\n")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if column in {0, 2, 6} else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()


def _bound(value: float, unit: str) -> str:
    if unit == "×":
        return f"{value:g} ×"
    return f"{value:,.0f} {unit}" if value >= 1_000 else f"{value:g} {unit}"


def _written(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 or unit == "broken" else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"
