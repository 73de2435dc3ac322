"""The table behind a chart. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from markupsafe import Markup

from aieye.ui import show
from aieye.ui.charts.series import Series


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
