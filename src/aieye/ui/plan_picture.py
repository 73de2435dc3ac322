"""A plan as a picture: what is called, what that needs, and what may not be called at all. Pure.

From left to right: arguments, calls, the result. Steps that only hand values on (constants, selectors,
lists) are not drawn, their values' ways are. Of a huge plan the first steps are drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from markupsafe import Markup

from aieye.pipeline.steps import Apply, CallStep, Choose, Given, Plan, Scope, Step, Try
from aieye.ui import show

MOST_NODES: Final = 80
# A box with more ways into it is drawn with the first ones.
_MOST_WAYS: Final = 40
_HEIGHT = 34
_GAP_X, _GAP_Y = 36, 12
_LANE = 4
_MARGIN = 2
_LONGEST = 22
# Of a letter in the picture's type, and what is around a label.
_LETTER, _PADDING = 7.3, 28

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


@dataclass(frozen=True, slots=True)
class Picture:
    """The boxes of a plan in an order in which each comes after what leads into it."""

    nodes: Sequence[Node]
    left_out: int


def picture_of(plan: Plan) -> Picture:
    """What of a plan is drawn."""
    nodes: list[Node] = []
    # By step: the boxes from which its value comes.
    origins: dict[int, tuple[int, ...]] = {}
    left_out = 0
    for index, step in enumerate(plan.steps):
        operands = plan.operands[index]
        sources = _merged(origins, operands)
        kind = _kind(step)
        if kind is None:
            origins[index] = sources
        elif len(nodes) >= MOST_NODES:
            origins[index] = sources
            left_out += 1
        else:
            maybe = frozenset(_merged(origins, _branches(step))) if _branches(step) else frozenset()
            nodes.append(Node(_label(step), kind, sources, maybe))
            origins[index] = (len(nodes) - 1,)
    nodes.append(Node("result", "result", origins.get(plan.result, ())))
    return Picture(nodes, left_out)


def draw(picture: Picture, *, title: str) -> Markup:
    """The picture as SVG of its own size; the box around it scrolls."""
    layout = _Layout(picture.nodes)
    edges = [_edge(way, is_maybe=is_maybe) for way, is_maybe in layout.ways()]
    boxes = [_box(node, place) for node, place in zip(picture.nodes, layout.places, strict=True)]
    return Markup(
        '<svg class="plan" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" '
        'aria-label="{title}">{edges}{boxes}</svg>'
    ).format(
        w=layout.width, h=layout.height, title=title,
        edges=Markup("").join(edges), boxes=Markup("").join(boxes),
    )  # fmt: skip


def describe(picture: Picture) -> str:
    """The picture in words, for whoever does not see it."""
    names = [node.label for node in picture.nodes if node.kind not in {"argument", "result"}]
    given = [node.label for node in picture.nodes if node.kind == "argument"]
    said = f"The plan: {', '.join(names) or 'no call'}"
    return f"{said}; takes {', '.join(given)}" if given else said


def _kind(step: Step) -> Kind | None:
    match step:
        case Given():
            return "argument"
        case CallStep():
            return step.callee.definition.kind
        case Choose() | Try() | Apply():
            return "form"
        case Scope():
            return "pipeline"
    return None


def _label(step: Step) -> str:
    match step:
        case Given() | CallStep() | Scope():
            return step.name
        case Choose():
            return "if"
        case Try():
            return "try"
        case Apply():
            inner = next(iter(step.body.calls), None)
            return step.name if inner is None else f"{step.name} {inner.name}"
    return ""


def _branches(step: Step) -> tuple[int, ...]:
    match step:
        case Choose():
            return (step.then, step.otherwise)
        case Try():
            return (step.fallback,)
    return ()


def _merged(origins: Mapping[int, tuple[int, ...]], steps: Sequence[int]) -> tuple[int, ...]:
    found = dict.fromkeys(node for step in steps for node in origins.get(step, ()))
    return tuple(found)


class _Layout:
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
                points = [(begin.x + begin.width, begin.y + _HEIGHT // 2)]
                for column, y in enumerate(self._lanes.get((source, target), ())):
                    x, width = self._spans[self._columns[source] + 1 + column]
                    points += [(x, y), (x + width, y)]
                yield [*points, (end.x, end.y + _HEIGHT // 2)], source in node.maybe

    def _fill(self, column: int, left: int) -> int:
        """Place the boxes and lanes of a column; its width."""
        here = [i for i, one in enumerate(self._columns) if one == column]
        letters = max((min(len(self._nodes[i].label), _LONGEST) for i in here), default=0)
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
            height = _HEIGHT if passed_to is None else _LANE
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
        return lanes[-1] if lanes else self.places[source].y + _HEIGHT / 2


def _columns(nodes: Sequence[Node]) -> Sequence[int]:
    columns: list[int] = []
    for node in nodes:
        columns.append(1 + max((columns[source] for source in node.sources), default=-1))
    return columns


def _edge(way: Sequence[tuple[int, int]], *, is_maybe: bool) -> Markup:
    (x, y), *rest = way
    drawn = [f"M{x} {y}"]
    for next_x, next_y in rest:
        bend = (next_x - x) // 2
        drawn.append(
            f"H{next_x}" if next_y == y
            else f"C{x + bend} {y} {next_x - bend} {next_y} {next_x} {next_y}"
        )  # fmt: skip
        x, y = next_x, next_y
    return Markup('<path class="plan-edge{}" d="{}"/>').format(
        " plan-maybe" if is_maybe else "", "".join(drawn)
    )


def _box(node: Node, place: Place) -> Markup:
    return Markup(
        '<g class="plan-node plan-{kind}"><title>{kind} {label}</title>'
        '<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="{r}"/>'
        '<text x="{tx}" y="{ty}">{shown}</text></g>'
    ).format(
        kind=node.kind, label=node.label, x=place.x, y=place.y, w=place.width, h=_HEIGHT,
        r=_HEIGHT // 2 if node.kind in {"argument", "result"} else 7,
        tx=place.x + place.width // 2, ty=place.y + _HEIGHT // 2 + 4,
        shown=show.middle(node.label, _LONGEST),
    )  # fmt: skip
