"""Charts as SVG made on the server: sparklines, stacked bars, waterfalls. Pure.

Shapes scale with the page, so they hold no text: axes and legends are HTML around them. Numbers are
attributes and never styles, which the content security policy forbids. `app.js` adds the cross-hair.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup, escape

from aieye.ui import show

# Of the colour-blind-safe list in the style sheet, `.c1` to `.c8`; `.c0` is grey, for the rest.
COLOURS = 8
WIDTH, HEIGHT = 960.0, 200.0
_SPARK_WIDTH, _SPARK_HEIGHT = 120.0, 28.0
_SPARK_POINTS = 30
_MOST_TICKS = 6
_RECT = Markup('<rect class="c{}" x="{}" y="{}" width="{}" height="{}"/>')


@dataclass(frozen=True, slots=True)
class Series:
    """One layer of a chart: a value for each bucket. `href` is where its legend entry leads."""

    name: str
    values: Sequence[float]
    href: str | None = None
    # The same for every chart that shows this name; None takes it from the name.
    colour: int | None = None


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


def colour_of(name: str) -> int:
    """The colour of a model, token or whatever else has a name: the same everywhere, for ever."""
    return (
        1 + int.from_bytes(hashlib.sha256(name.encode("utf-8", "replace")).digest()[:4]) % COLOURS
    )


def colours_of(names: Sequence[str]) -> dict[str, int]:
    """Colours for names in one chart: each its own where it is free, else the next that is."""
    taken: dict[str, int] = {}
    for name in names:
        own = colour_of(name)
        free = [c for c in range(1, COLOURS + 1) if c not in taken.values()]
        later = [c for c in free if c >= own] or free
        taken[name] = later[0] if later else own
    return taken


def nice_top(largest: float) -> float:
    """The end of an axis from zero that holds `largest`: a round number."""
    if largest < 1e-300 or not math.isfinite(largest):
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
    return next((step * power for step in steps if step * power >= largest * 0.9999), 10 * power)


def sparkline(values: Sequence[float], *, label: str = "") -> Markup:
    """A small line from zero with the area under it; `label` says in words what it shows."""
    if not values:
        return Markup("")
    values = _fewer(values)
    top = max(values) or 1.0
    step = _SPARK_WIDTH / max(1, len(values) - 1)
    inner = _SPARK_HEIGHT - 2
    points = [(i * step, 1 + inner * (1 - max(0.0, v) / top)) for i, v in enumerate(values)]
    if len(points) == 1:
        points.append((_SPARK_WIDTH, points[0][1]))
    # One shape: its edges beside the line lie outside of what is shown.
    line = " ".join(f"{x:.0f},{_d(y)}" for x, y in points)
    return Markup(
        '<svg class="spark" viewBox="0 0 {w} {h}" preserveAspectRatio="none" {named}>'
        '<polygon points="-9,{below} -9,{first} {line} {right},{last} {right},{below}"/></svg>'
    ).format(
        w=_n(_SPARK_WIDTH), h=_n(_SPARK_HEIGHT), named=_named(label), line=line,
        below=_n(_SPARK_HEIGHT + 9), right=_n(_SPARK_WIDTH + 9), first=_d(points[0][1]),
        last=_d(points[-1][1]),
    )  # fmt: skip


def _fewer(values: Sequence[float]) -> Sequence[float]:
    """At most `_SPARK_POINTS` values: the mean of neighbours."""
    size = -(-len(values) // _SPARK_POINTS)
    if size <= 1:
        return values
    parts = [values[i : i + size] for i in range(0, len(values), size)]
    return [sum(part) / len(part) for part in parts]


def stacked(
    buckets: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    write: Callable[[float], str] = show.compact,
    ticks: Sequence[str] | None = None,
    unit: str = "",
    table: Markup | None = None,
) -> Markup:
    """Bars stacked from zero, one a bucket, with axes, legend, and the table behind.

    `buckets` name each bar in full, `ticks` are its short forms for the axis. `write` writes a value.
    `table` stands where the table would: a link to it, where a page has little room.
    """
    colours = colours_of([one.name for one in series if one.colour is None])
    paint = {
        one.name: one.colour if one.colour is not None else colours[one.name] for one in series
    }
    totals = [sum(one.values[i] for one in series) for i in range(len(buckets))]
    top = nice_top(max(totals, default=0))
    return Markup(
        '<figure class="chart" data-chart data-unit="{unit}"><figcaption class="sr-only">{title}'
        "</figcaption>{legend}"
        '<div class="chart-grid"><div class="chart-y" aria-hidden="true"><span>{top}</span>'
        "<span>{middle}</span><span>0</span></div>"
        '<div class="chart-plot">{svg}{none}<div class="chart-tip" hidden></div></div>'
        '<div class="chart-x" aria-hidden="true">{ticks}</div></div>{table}</figure>'
    ).format(
        title=title,
        unit=unit,
        legend=_legend(series, paint),
        top=write(top) if any(totals) else "",
        middle=write(top / 2) if any(totals) else "",
        svg=_bars(buckets, series, paint, totals, top, title, write),
        none="" if any(totals) else Markup('<p class="chart-none">Nothing in this time</p>'),
        ticks=_ticks(ticks or buckets),
        table=data_table(buckets, series, title=title, write=write) if table is None else table,
    )


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


def bar(share: float, *, colour: int = 1, label: str = "") -> Markup:
    """A thin bar for a share of one, beside the number that it shows."""
    width = _d(100 * min(1.0, max(0.0, share)))
    return Markup('<svg class="share" {}><rect class="c{}" width="{}%" height="4"/></svg>').format(
        _named(label), colour, width
    )


def _bars(
    buckets: Sequence[str], series: Sequence[Series], paint: dict[str, int],
    totals: Sequence[float], top: float, title: str, write: Callable[[float], str],
) -> Markup:  # fmt: skip
    slot = WIDTH / max(1, len(buckets))
    gap = min(3.0, slot * 0.2)
    floors = [HEIGHT] * len(buckets)
    parts: list[Markup] = []
    for one in series:
        bars: list[str] = []
        for i, value in enumerate(one.values):
            height = HEIGHT * max(0.0, value) / top
            if height > 0:
                floors[i] -= height
                # A stroke as wide as a bar: a rectangle takes three times as many characters.
                bars.append(f"M{_d(i * slot + slot / 2)} {_d(floors[i])}v{_d(height)}")
        if bars:
            parts.append(
                Markup('<path class="s{}" stroke-width="{}" d="{}"/>').format(
                    paint[one.name], _d(slot - gap), "".join(bars)
                )
            )
    # Values in one text: a list of texts is mostly quotes, each five characters in an attribute.
    data = {
        "labels": "|".join(buckets),
        "series": [
            {"name": one.name, "c": paint[one.name], "text": "|".join(map(write, one.values))}
            for one in series
        ],
        "total": "|".join(map(write, totals)) if len(series) > 1 else None,
    }
    lines = Markup("").join(
        Markup('<line class="gridline" x1="0" x2="{}" y1="{}" y2="{}"/>').format(_n(WIDTH), y, y)
        for y in (0.5, HEIGHT / 2, HEIGHT - 0.5)
    )
    return Markup(
        '<svg viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="{title}" '
        'data-points="{data}">{lines}{parts}<line class="cross" y1="0" y2="{h}" x1="-9" x2="-9"/></svg>'
    ).format(
        w=_n(WIDTH), h=_n(HEIGHT), title=title, lines=lines,
        parts=Markup("").join(parts), data=json.dumps(data, separators=(",", ":")),
    )  # fmt: skip


def _legend(series: Sequence[Series], paint: dict[str, int]) -> Markup:
    if len(series) < 2 and not any(one.href for one in series):
        return Markup("")
    entries = []
    for one in series:
        inner = Markup('<svg class="swatch" viewBox="0 0 8 8" aria-hidden="true">'
                       '<rect class="c{}" width="8" height="8" rx="2"/></svg>{}').format(
            paint[one.name], one.name)  # fmt: skip
        link = Markup('<a href="{}">{}</a>').format(one.href, inner) if one.href else inner
        entries.append(Markup("<li>{}</li>").format(link))
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(entries))


def _ticks(labels: Sequence[str]) -> Markup:
    if len(labels) > _MOST_TICKS:
        step = (len(labels) - 1) / (_MOST_TICKS - 1)
        labels = [labels[round(i * step)] for i in range(_MOST_TICKS)]
    return Markup("").join(Markup("<span>{}</span>").format(label) for label in labels)


def data_table(
    buckets: Sequence[str], series: Sequence[Series], *, title: str,
    write: Callable[[float], str] = show.compact, is_open: bool = False,
) -> Markup:  # fmt: skip
    """The values of a chart as a table, folded unless `is_open`; buckets without any are left out."""
    totals = [sum(one.values[i] for one in series) for i in range(len(buckets))]
    head = Markup("").join(
        Markup('<th scope="col" class="num">{}</th>').format(one.name) for one in series
    )
    sums = len(series) > 1
    rows = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}{}</tr>').format(
            bucket,
            Markup("").join(
                Markup('<td class="num">{}</td>').format(write(one.values[i])) for one in series
            ),
            Markup('<td class="num">{}</td>').format(write(totals[i])) if sums else "",
        )
        for i, bucket in enumerate(buckets)
        if totals[i]
    )
    return Markup(
        '<details class="chart-table"{open}><summary>Table</summary><div class="table-box" tabindex="0" '
        'role="region" aria-label="{title}"><table class="table"><thead><tr><th scope="col">Time</th>'
        "{head}{total}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    ).format(
        title=title, head=head, rows=rows, open=Markup(" open") if is_open else "",
        total=Markup('<th scope="col" class="num">Total</th>') if sums else "",
    )  # fmt: skip


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
        _RECT.format(colour, _n(min(x, 998.0)), 1, _n(w), 8) for x, w, colour in bars
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


def _named(label: str) -> Markup:
    """What a picture is called; without a name it only repeats what stands beside it."""
    if label:
        return Markup('role="img" aria-label="{}"').format(label)
    return Markup('aria-hidden="true"')


def _d(value: float) -> str:
    """A coordinate to a tenth, where there are hundreds of them."""
    return f"{value:.1f}".removesuffix(".0")


def _n(value: float) -> str:
    """A coordinate in few characters."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
