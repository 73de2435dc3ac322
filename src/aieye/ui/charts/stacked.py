"""Bars over time, stacked, with axes, legend, and the values that the pointer reads. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence

from markupsafe import Markup

from aieye.ui import show
from aieye.ui.charts.colours import colour_at
from aieye.ui.charts.marks import short, tenth
from aieye.ui.charts.series import Series
from aieye.ui.charts.table import data_table

WIDTH, HEIGHT = 960.0, 200.0


def nice_top(largest: float, *, is_whole: bool = False) -> float:
    """The end of an axis from zero that holds `largest`: a round number.

    Where what is counted `is_whole` so is the middle of the axis: there are no halves of requests.
    """
    if largest < 1e-300 or not math.isfinite(largest):
        return 1.0
    power = 10.0 ** math.floor(math.log10(largest))
    tops = [step * power for step in (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)]
    if is_whole:
        tops = [top for top in tops if math.isclose(top / 2, round(top / 2))]
    return next((top for top in tops if top >= largest * 0.9999), 10 * power)


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

    `buckets` name each bar in full, `ticks` are short forms for the axis, "" for bars without one.
    `write` writes a value.
    `table` stands where the table would: a link to it, where a page has little room.
    """
    paint = {
        one.name: colour_at(place) if one.colour is None else one.colour
        for place, one in enumerate(series)
    }
    totals = [sum(one.values[i] for one in series) for i in range(len(buckets))]
    is_whole = all(float(total).is_integer() for total in totals)
    top = nice_top(max(totals, default=0), is_whole=is_whole)
    return Markup(
        '<figure class="chart" data-chart data-unit="{unit}"><figcaption class="sr-only">{title}'
        "</figcaption>{legend}"
        '<div class="chart-grid"><div class="chart-y" aria-hidden="true"><span>{top}</span>'
        "<span>{middle}</span><span>0</span></div>"
        '<div class="chart-plot">{svg}{none}<div class="chart-tip" hidden></div></div>'
        '<svg class="chart-x" aria-hidden="true">{ticks}</svg></div>{table}</figure>'
    ).format(
        title=title,
        unit=unit,
        legend=_legend(series, paint),
        top=write(top) if any(totals) else "",
        middle=write(top / 2) if any(totals) else "",
        svg=_bars(buckets, series, paint, totals, top, title, write),
        none="" if any(totals) else Markup('<p class="chart-none">Nothing in this time</p>'),
        ticks=_ticks(ticks or ()),
        table=data_table(buckets, series, title=title, write=write) if table is None else table,
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
                bars.append(f"M{tenth(i * slot + slot / 2)} {tenth(floors[i])}v{tenth(height)}")
        if bars:
            parts.append(
                Markup('<path class="s{}" stroke-width="{}" d="{}"/>').format(
                    paint[one.name], tenth(slot - gap), "".join(bars)
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
        Markup('<line class="gridline" x1="0" x2="{}" y1="{}" y2="{}"/>').format(short(WIDTH), y, y)
        for y in (0.5, HEIGHT / 2, HEIGHT - 0.5)
    )
    return Markup(
        '<svg viewBox="0 0 {w} {h}" preserveAspectRatio="none" role="img" aria-label="{title}" '
        'data-points="{data}">{lines}{parts}<line class="cross" y1="0" y2="{h}" x1="-9" x2="-9"/></svg>'
    ).format(
        w=short(WIDTH), h=short(HEIGHT), title=title, lines=lines,
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
    """Each under the middle of its bar; the outermost inwards, so that none is cut."""
    texts = []
    for i, label in enumerate(labels):
        place = 100 * (i + 0.5) / len(labels)
        anchor = "start" if place < 4 else "end" if place > 96 else "middle"
        if label:
            texts.append(
                Markup('<text x="{}%" y="12" text-anchor="{}">{}</text>').format(
                    short(place), anchor, label
                )
            )
    return Markup("").join(texts)
