"""A plan as a picture: what is called, what that needs, and what may not be called at all. Pure.

From left to right: arguments, calls, the result. Steps that only hand values on (constants, selectors,
lists) are not drawn, their values' ways are. Of a huge plan the first steps are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from markupsafe import Markup

from aieye.pipeline.steps import Apply, CallStep, Choose, Given, Plan, Scope, Step, Try
from aieye.ui import show

MOST_NODES: Final = 80
_MOST_EDGES: Final = 400
_HEIGHT = 34
_GAP_X, _GAP_Y = 36, 12
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
    places = _places(picture.nodes)
    width = _MARGIN + max(place.x + place.width for place in places)
    height = _MARGIN + max(place.y for place in places) + _HEIGHT
    edges = [
        _edge(places[source], places[target], is_maybe=source in node.maybe)
        for target, node in enumerate(picture.nodes)
        for source in node.sources
    ]
    boxes = [_box(node, place) for node, place in zip(picture.nodes, places, strict=True)]
    return Markup(
        '<svg class="plan" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" '
        'aria-label="{title}">{edges}{boxes}</svg>'
    ).format(
        w=width, h=height, title=title,
        edges=Markup("").join(edges[:_MOST_EDGES]), boxes=Markup("").join(boxes),
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


def _places(nodes: Sequence[Node]) -> Sequence[Place]:
    """Where each box stands: in the column behind all that leads into it, level with that."""
    columns: list[int] = []
    for node in nodes:
        columns.append(1 + max((columns[source] for source in node.sources), default=-1))
    widths: dict[int, int] = {}
    for node, column in zip(nodes, columns, strict=True):
        letters = min(len(node.label), _LONGEST)
        widths[column] = max(widths.get(column, 0), round(letters * _LETTER) + _PADDING)
    lefts = [_MARGIN]
    for column in range(max(columns)):
        lefts.append(lefts[-1] + widths[column] + _GAP_X)
    rows: dict[int, int] = {}
    places: list[Place] = []
    for node, column in zip(nodes, columns, strict=True):
        level = places[node.sources[0]].y if node.sources else _MARGIN
        y = max(rows.get(column, _MARGIN), level)
        rows[column] = y + _HEIGHT + _GAP_Y
        places.append(Place(lefts[column], y, widths[column]))
    return places


def _edge(source: Place, target: Place, *, is_maybe: bool) -> Markup:
    x1, y1 = source.x + source.width, source.y + _HEIGHT // 2
    x2, y2 = target.x, target.y + _HEIGHT // 2
    bend = max(_GAP_X // 2, (x2 - x1) // 2)
    return Markup('<path class="plan-edge{}" d="M{} {}C{} {} {} {} {} {}"/>').format(
        " plan-maybe" if is_maybe else "", x1, y1, x1 + bend, y1, x2 - bend, y2, x2, y2
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
