"""Charts: what they show is right, whatever is in them is text, and nothing of them needs a style."""

from __future__ import annotations

import json
import re
from html import unescape
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.ui import charts
from aieye.ui.charts import Series, Span
from aieye.ui.charts.colours import COLOURS, colour_at, colours_of
from aieye.ui.charts.stacked import HEIGHT, nice_top

HOSTILE = '"><script>alert(1)</script>'
AMOUNTS = st.floats(0, 1e12, allow_nan=False)


def _parsed(markup: str) -> ElementTree.Element:
    return ElementTree.fromstring(
        f"<div>{markup.replace(' hidden', '').replace('data-chart ', '')}</div>"
    )


@given(st.lists(AMOUNTS, max_size=80))
def test_a_sparkline_stays_in_its_box(values: list[float]) -> None:
    markup = charts.sparkline(values)
    # The three corners beside and below are out of sight; one for the line's end on each side.
    for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", markup)[1:-1]:
        assert -9 <= float(x) <= 129
        assert 0 <= float(y) <= 28


def test_a_sparkline_of_many_values_shows_their_means() -> None:
    markup = charts.sparkline([0, 2] * 40)
    points = re.findall(r"(?:^|\s)\d+,([\d.]+)", markup)
    assert 20 <= len(points) <= 30


@given(st.lists(st.lists(AMOUNTS, min_size=3, max_size=3), min_size=1, max_size=4))
def test_bars_stand_on_each_other_from_zero_and_in_scale(layers: list[list[float]]) -> None:
    series = [Series(f"m{i}", values) for i, values in enumerate(layers)]
    figure = _parsed(charts.stacked(["a", "b", "c"], series, title="t"))
    tops: dict[str, float] = {}
    for layer in figure.iter("path"):
        for x, y, height in re.findall(r"M([\d.]+) (-?[\d.]+)v([\d.]+)", layer.attrib["d"]):
            assert float(y) >= -0.1
            assert float(y) + float(height) == pytest.approx(tops.get(x, HEIGHT), abs=0.2)
            tops[x] = float(y)


def test_a_chart_tells_its_values_to_the_pointer_and_to_who_reads_the_table() -> None:
    figure = charts.stacked(
        ["Monday", "Tuesday"],
        [Series("gpt-4o", [1, 0], "/?model=gpt-4o"), Series("o4", [2, 0])],
        title="Calls",
    )
    found = re.search(r'data-points="([^"]*)"', figure)
    assert found is not None
    points = json.loads(unescape(found[1]))
    assert points["labels"] == "Monday|Tuesday"
    assert [one["text"] for one in points["series"]] == ["1|0", "2|0"]
    assert points["total"] == "3|0"
    assert '<a href="/?model=gpt-4o">' in figure
    # An hour without calls is no row of the table.
    assert figure.count('<th scope="row">') == 1


@pytest.mark.parametrize(
    "markup",
    [
        charts.stacked([HOSTILE], [Series(HOSTILE, [1], HOSTILE), Series("b", [2])], title=HOSTILE),
        charts.waterfall([Span(HOSTILE, 0, 1, note=HOSTILE, href="/x")], title=HOSTILE),
        charts.sparkline([1, 2], label=HOSTILE),
        charts.bar(0.5, label=HOSTILE),
    ],
)
def test_names_in_charts_are_text_and_nothing_is_inline(markup: str) -> None:
    assert "<script" not in markup
    assert re.search(r"\s(style|on\w+)=", markup) is None
    _parsed(markup)


@given(st.sets(st.integers(0, 40), max_size=COLOURS))
def test_a_name_keeps_its_colour_where_none_before_it_has_it_and_no_two_of_a_chart_have_one(
    shown: set[int],
) -> None:
    colours = colours_of({f"name {place}": place for place in shown})
    assert len(set(colours.values())) == len(shown)
    for place in shown:
        is_first = not any(one < place and one % COLOURS == place % COLOURS for one in shown)
        if is_first:
            assert colours[f"name {place}"] == colour_at(place)


@given(st.floats(1e-9, 1e15))
def test_an_axis_ends_at_a_round_number_that_holds_all(largest: float) -> None:
    top = nice_top(largest)
    assert largest * 0.999 <= top <= largest * 10.01


@given(st.integers(1, 10**15))
def test_an_axis_of_what_is_counted_names_no_halves(largest: int) -> None:
    top = nice_top(largest, is_whole=True)
    assert largest * 0.999 <= top <= largest * 10.01
    assert (top / 2).is_integer()


@pytest.mark.parametrize(
    ("values", "named"),
    [([1], ["2", "1"]), ([0, 5], ["6", "3"]), ([15], ["20", "10"]), ([0.5, 1], ["1", "0.5"])],
)
def test_a_chart_names_whole_numbers_where_it_counts(values: list[float], named: list[str]) -> None:
    figure = charts.stacked([str(value) for value in values], [Series("a", values)], title="t")
    axis = re.search(r'<div class="chart-y"[^>]*>(.*?)</div>', figure)
    assert axis is not None
    assert re.findall(r"<span>([^<]*)</span>", axis[1]) == [*named, "0"]


def test_nothing_to_show_is_no_error() -> None:
    assert charts.sparkline([]) == ""
    charts.stacked([], [], title="t")
    charts.stacked(["a"], [Series("m", [0])], title="t")
    charts.waterfall([], title="t")
    charts.waterfall([Span("a", 0, 0, parts=[(0, 1), (3, 2)])], title="t")
