"""How numbers, money and times are written on pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.ui import show
from aieye.ui.show import MINUS, THIN

NOW = datetime(2026, 11, 26, 10, 49, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("nano", "said"),
    [
        (None, "unknown"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (123_456, "$0.0001235"),
        (9_999_999, "$0.01"),
        (12_345_678, "$0.0123"),
        (999_000_000, "$0.9990"),
        (1_005_000_000, "$1.00"),
        (12_345_678_900_000, f"$12{THIN}345.68"),
        (-2_500_000_000, f"{MINUS}$2.50"),
    ],
)
def test_money_is_exact_where_it_is_small_and_short_where_it_is_large(
    nano: int | None, said: str
) -> None:
    assert show.money(nano) == said


@pytest.mark.parametrize("name", ["Pacific/Kiritimati", "Etc/GMT+12", "UTC"])
@pytest.mark.parametrize("moment", [datetime.max, datetime.min])
def test_the_ends_of_the_calendar_can_be_written_in_every_zone(name: str, moment: datetime) -> None:
    written = show.when(moment.replace(tzinfo=UTC), now=NOW, zone=ZoneInfo(name))
    assert f"{moment.year:04}-" in written


@given(st.integers(1, 9_999_999))
def test_less_than_a_cent_keeps_four_digits(nano: int) -> None:
    shown = Decimal(show.money(nano).removeprefix("$")) * 10**9
    assert abs(shown - nano) <= Decimal(nano) / 1_000


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (999, "999"), (1_234, "1 234"), (-1_234_567, "−1 234 567"), (None, "–")],
)  # fmt: skip
def test_counts_have_thin_separators(value: int | None, said: str) -> None:
    assert show.number(value) == said.replace(" ", THIN)


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (950, "950"), (999.6, "1 k"), (1_250, "1.2 k"), (100_000, "100 k"), (1_234_567, "1.2 M"),
     (999_999_999, "1 B"), (0.25, "0.2")],
)  # fmt: skip
def test_axes_have_few_characters(value: float, said: str) -> None:
    assert show.compact(value) == said.replace(" ", THIN)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (0, "0 ms"), (0.02, "<0.1 ms"), (0.84, "0.8 ms"), (412.6, "413 ms"), (9_999, "9 999 ms"),
     (10_000, "10.0 s"), (99_400, "99.4 s"), (61_000 * 2, "2 min 2 s"), (3_600_000 * 5, "5 h 0 min")],
)  # fmt: skip
def test_spans_are_ms_under_ten_seconds(value: float | None, said: str) -> None:
    assert show.duration(value) == said.replace(" ", THIN).replace(f"min{THIN}", "min ").replace(
        f"h{THIN}", "h "
    )


@pytest.mark.parametrize(
    ("now", "before", "said"),
    [
        (112, 100, "+12 %"),
        (91.9, 100, "−8.1 %"),
        (5, 0, ""),
        (100, 100, "0 %"),
        (5_000, 1, "over +1000 %"),
    ],
)
def test_a_change_says_its_direction_and_nothing_where_there_is_nothing_to_compare(
    now: float, before: float, said: str
) -> None:
    assert show.delta(now, before) == said.replace(" %", f"{THIN}%")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "just now"), (41, "41 s ago"), (60, "1 min ago"), (7_199, "1 h ago"), (86_400 * 45, "1 mo ago"),
     (-172_800, "in 2 d")],
)  # fmt: skip
def test_times_are_relative_in_one_unit(seconds: int, said: str) -> None:
    shown = show.ago(NOW - timedelta(seconds=seconds), NOW)
    assert shown.replace(THIN, " ") == said


def test_the_absolute_time_stands_in_the_title_with_its_zone() -> None:
    tag = show.when(NOW, now=NOW + timedelta(hours=3), zone=ZoneInfo("Europe/Berlin"))
    assert 'datetime="2026-11-26T10:49:18Z"' in tag
    assert 'title="2026-11-26 11:49:18 CET"' in tag
    assert "never" in show.when(None, now=NOW)


@given(st.text(max_size=60), st.integers(5, 40))
def test_an_id_is_shortened_in_its_middle(text: str, longest: int) -> None:
    shown = show.middle(text, longest)
    assert len(shown) <= longest
    assert shown == text or (shown[0] == text[0] and shown[-1] == text[-1])


@pytest.mark.parametrize(
    ("count", "said"), [(None, "–"), (0, "0 B"), (1_023, "1023 B"), (1_572_864, "1.5 MiB")]
)
def test_sizes_have_binary_units(count: int | None, said: str) -> None:
    assert show.size(count).replace(THIN, " ") == said


@pytest.mark.parametrize(
    ("text", "shown", "plain"),
    [
        ("`a` and ``b``", "<code>a</code> and <code>b</code>", "a and b"),
        ("`<b>` <b>", "<code>&lt;b&gt;</code> &lt;b&gt;", "<b> <b>"),
        ("one ` and\nanother `", "one ` and\nanother `", "one ` and\nanother `"),
        ("```x```", "```x```", "```x```"),
        ("``", "``", "``"),
        ("", "", ""),
    ],
)
def test_what_stands_between_backticks_is_code_and_nothing_is_markup(
    text: str, shown: str, plain: str
) -> None:
    assert show.with_code(text) == shown
    assert show.without_code(text) == plain
