"""A plan as a picture: what is called, what that needs, and what may not be called at all. Pure.

From left to right: arguments, calls, the result. Steps that only hand values on (constants, selectors,
lists) are not drawn, their values' ways are. Of a huge plan the first steps are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from aieye.pipeline.steps import Apply, Block, CallStep, Choose, Given, Plan, Scope, Step, Try
from aieye.ui import show
from aieye.ui.plan_layout import HEIGHT, LONGEST_LABEL, Kind, Layout, Node, Place

MOST_NODES: Final = 80
# A picture no wider than this is made to fit its box; a wider one could not be read then, and scrolls.
_MOST_FITTED: Final = 900


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
        # A called pipeline is worth its result; what it was given has led into that, if it is used.
        operands = (step.result,) if isinstance(step, Block) else plan.operands[index]
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
    """The picture as SVG; the box around it scrolls where it does not fit."""
    layout = Layout(picture.nodes)
    edges = [_edge(way, is_maybe=is_maybe) for way, is_maybe in layout.ways()]
    boxes = [_box(node, place) for node, place in zip(picture.nodes, layout.places, strict=True)]
    return Markup(
        '<svg class="plan{fits}" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" '
        'aria-label="{title}">{edges}{boxes}</svg>'
    ).format(
        w=layout.width, h=layout.height, title=title,
        fits=" plan-fits" if layout.width <= _MOST_FITTED else "",
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
        kind=node.kind, label=node.label, x=place.x, y=place.y, w=place.width, h=HEIGHT,
        r=HEIGHT // 2 if node.kind in {"argument", "result"} else 7,
        tx=place.x + place.width // 2, ty=place.y + HEIGHT // 2 + 4,
        shown=show.middle(node.label, LONGEST_LABEL),
    )  # fmt: skip
