"""Where the boxes of a plan's picture stand, and the ways between them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

HEIGHT: Final = 34
LONGEST_LABEL: Final = 22
_GAP_X, _GAP_Y = 36, 12
_LANE = 4
_MARGIN = 2
# Of a letter in the picture's type, and what is around a label.
_LETTER, _PADDING = 7.3, 28
# A box with more ways into it is drawn with the first ones.
_MOST_WAYS: Final = 40

Kind = Literal["argument", "function", "prompt", "preset", "pipeline", "form", "result"]


@dataclass(frozen=True, slots=True)
class Node:
    """A box; `sources` are the indices of the boxes that lead into it, `maybe` those of branches."""

    label: str
    kind: Kind
    sources: Sequence[int]
    maybe: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box stands, in pixels."""

    x: int
    y: int
    width: int


class Layout:
    """Where everything stands: each box in the column behind all that leads into it, as level with that
    as there is room. A way that passes columns by has a lane of its own in each of them."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._nodes = nodes
        self._columns = _columns(nodes)
        self._lanes: dict[tuple[int, int], list[int]] = {}
        # By column: where it begins, and how wide it is.
        self._spans: dict[int, tuple[int, int]] = {}
        self.places: list[Place] = [Place(0, 0, 0)] * len(nodes)
        self.height = 0
        left = _MARGIN
        for column in range(max(self._columns) + 1):
            left += self._fill(column, left) + _GAP_X
        self.width = left - _GAP_X + _MARGIN

    def ways(self) -> Iterator[tuple[Sequence[tuple[int, int]], bool]]:
        """The points of each way, from a box over its lanes to another, and whether it may not be taken."""
        for target, node in enumerate(self._nodes):
            for source in node.sources[:_MOST_WAYS]:
                begin, end = self.places[source], self.places[target]
                points = [(begin.x + begin.width, begin.y + HEIGHT // 2)]
                for column, y in enumerate(self._lanes.get((source, target), ())):
                    x, width = self._spans[self._columns[source] + 1 + column]
                    points += [(x, y), (x + width, y)]
                yield [*points, (end.x, end.y + HEIGHT // 2)], source in node.maybe

    def _fill(self, column: int, left: int) -> int:
        """Place the boxes and lanes of a column; its width."""
        here = [i for i, one in enumerate(self._columns) if one == column]
        letters = max((min(len(self._nodes[i].label), LONGEST_LABEL) for i in here), default=0)
        width = round(letters * _LETTER) + _PADDING
        self._spans[column] = (left, width)
        wanted: list[tuple[float, int, int | None]] = []
        for i in here:
            levels = [self._level(source, i) for source in self._nodes[i].sources]
            wanted.append((sum(levels) / len(levels) if levels else -1.0, i, None))
        for target, node in enumerate(self._nodes):
            if self._columns[target] <= column:
                continue
            passing = [one for one in node.sources[:_MOST_WAYS] if self._columns[one] < column]
            wanted += [(self._level(source, target), source, target) for source in passing]
        bottom = _MARGIN
        for level, i, passed_to in sorted(wanted, key=lambda one: one[0]):
            height = HEIGHT if passed_to is None else _LANE
            y = max(bottom, round(level) - height // 2)
            if passed_to is None:
                self.places[i] = Place(left, y, width)
            else:
                self._lanes.setdefault((i, passed_to), []).append(y + height // 2)
            bottom = y + height + _GAP_Y
            self.height = max(self.height, y + height + _MARGIN)
        return width

    def _level(self, source: int, target: int) -> float:
        """How high the way between two boxes has come so far."""
        lanes = self._lanes.get((source, target))
        return lanes[-1] if lanes else self.places[source].y + HEIGHT / 2


def _columns(nodes: Sequence[Node]) -> Sequence[int]:
    columns: list[int] = []
    for node in nodes:
        columns.append(1 + max((columns[source] for source in node.sources), default=-1))
    return columns
