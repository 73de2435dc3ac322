"""What stands beside one number: the line of how it went, the bar of its share. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from aieye.ui.charts.marks import named, short, tenth

_WIDTH, _HEIGHT = 120.0, 28.0
_MOST_POINTS = 30


def sparkline(values: Sequence[float], *, label: str = "") -> Markup:
    """A small line from zero with the area under it; `label` says in words what it shows."""
    if not values:
        return Markup("")
    values = _fewer(values)
    top = max(values) or 1.0
    step = _WIDTH / max(1, len(values) - 1)
    inner = _HEIGHT - 2
    points = [(i * step, 1 + inner * (1 - max(0.0, v) / top)) for i, v in enumerate(values)]
    if len(points) == 1:
        points.append((_WIDTH, points[0][1]))
    # One shape: its edges beside the line lie outside of what is shown.
    line = " ".join(f"{x:.0f},{tenth(y)}" for x, y in points)
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" preserveAspectRatio="none" {named}>'
        '<polygon points="-9,{below} -9,{first} {line} {right},{last} {right},{below}"/></svg>'
    ).format(
        w=short(_WIDTH), h=short(_HEIGHT), named=named(label), line=line,
        below=short(_HEIGHT + 9), right=short(_WIDTH + 9), first=tenth(points[0][1]),
        last=tenth(points[-1][1]),
    )  # fmt: skip


def _fewer(values: Sequence[float]) -> Sequence[float]:
    """At most `_MOST_POINTS` values: the mean of neighbours."""
    size = -(-len(values) // _MOST_POINTS)
    if size <= 1:
        return values
    parts = [values[i : i + size] for i in range(0, len(values), size)]
    return [sum(part) / len(part) for part in parts]


def bar(share: float, *, colour: int = 1, label: str = "") -> Markup:
    """A thin bar for a share of one, beside the number that it shows."""
    width = tenth(100 * min(1.0, max(0.0, share)))
    return Markup('<svg class="share" {}><rect class="c{}" width="{}%" height="4"/></svg>').format(
        named(label), colour, width
    )
