"""Charts as SVG made on the server: sparklines, stacked bars, waterfalls. Pure.

Shapes scale with the page, so they hold no text: axes and legends stand around them. Numbers are
attributes and never styles, which the content security policy forbids. `app.js` adds the cross-hair.
"""

from aieye.ui.charts.series import Series
from aieye.ui.charts.sparkline import bar, sparkline
from aieye.ui.charts.stacked import stacked
from aieye.ui.charts.table import data_table
from aieye.ui.charts.ticks import round_ticks
from aieye.ui.charts.waterfall import Span, waterfall

__all__ = [
    "Series",
    "Span",
    "bar",
    "data_table",
    "round_ticks",
    "sparkline",
    "stacked",
    "waterfall",
]
