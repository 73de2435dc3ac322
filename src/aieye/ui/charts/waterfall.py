"""What happened when: rows of labelled bars on one time axis. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup, escape

from aieye.ui import show
from aieye.ui.charts.marks import short

_RECT = Markup('<rect class="c{}" x="{}" y="{}" width="{}" height="{}"/>')


@dataclass(frozen=True, slots=True)
class Span:
    """A bar of a waterfall, in ms from its beginning. `depth` indents its label."""

    label: str
    start_ms: float
    duration_ms: float
    colour: int = 1
    depth: int = 0
    note: str = ""
    href: str | None = None
    parts: Sequence[tuple[float, int]] = field(default=())


def waterfall(spans: Sequence[Span], *, title: str, total_ms: float | None = None) -> Markup:
    """Rows of labelled bars on one time axis, such as the steps of a run or the phases of a call."""
    end = total_ms or max((one.start_ms + one.duration_ms for one in spans), default=0) or 1.0
    rows = Markup("").join(_waterfall_row(one, end) for one in spans)
    axis = Markup("").join(
        Markup("<span>{}</span>").format(show.duration(end * share)) for share in (0, 0.5, 1)
    )
    return Markup(
        '<div class="waterfall" role="table" aria-label="{title}"><div class="waterfall-axis" '
        'aria-hidden="true">{axis}</div>{rows}</div>'
    ).format(title=title, axis=axis, rows=rows)


def _waterfall_row(one: Span, end: float) -> Markup:
    start = 1000 * max(0.0, one.start_ms) / end
    width = max(2.0, 1000 * max(0.0, one.duration_ms) / end)
    bars = [(start, width, one.colour)]
    if one.parts:
        edges = [start]
        for length, _ in one.parts:
            edges.append(edges[-1] + 1000 * max(0.0, length) / end)
        bars = [
            (left, max(2.0, right - left), colour)
            for (left, right), (_, colour) in zip(pairwise(edges), one.parts, strict=True)
        ]
    rects = Markup("").join(
        _RECT.format(colour, short(min(x, 998.0)), 1, short(w), 8) for x, w, colour in bars
    )
    label = (
        Markup('<a href="{}">{}</a>').format(one.href, one.label) if one.href else escape(one.label)
    )
    return Markup(
        '<div class="waterfall-row" role="row"><span role="rowheader" class="waterfall-label d{depth}">'
        '{label}</span><span role="cell" class="waterfall-bar"><svg viewBox="0 0 1000 10" '
        'preserveAspectRatio="none" aria-hidden="true">{rects}</svg></span>'
        '<span role="cell" class="num">{duration}</span><span role="cell" class="muted">{note}</span></div>'
    ).format(
        depth=min(6, one.depth), label=label, rects=rects,
        duration=show.duration(one.duration_ms), note=one.note,
    )  # fmt: skip
