"""Grains, latency bins and percentiles: the arithmetic under the usage figures."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.ledger.rollups import (
    BIN_EDGES_MS,
    DAY,
    GRAINS,
    HOUR,
    MINUTE,
    Span,
    bucket_of,
    choose_grain,
    cover,
    latency_bin,
    percentile,
    round_up,
)

ERROR_FACTOR = 1.71
minutes = st.integers(min_value=0, max_value=60 * 24 * 90)


def counted(latencies_us: list[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for latency in latencies_us:
        counts[latency_bin(latency)] = counts.get(latency_bin(latency), 0) + 1
    return counts


def test_the_bins_are_spaced_evenly_on_a_logarithmic_scale_from_1_ms_to_600_s() -> None:
    assert (BIN_EDGES_MS[0], BIN_EDGES_MS[-1], len(BIN_EDGES_MS)) == (1.0, 600_000.0, 26)
    ratios = [high / low for low, high in pairwise(BIN_EDGES_MS)]
    assert all(1.7 < ratio < ERROR_FACTOR for ratio in ratios)


@pytest.mark.parametrize(
    ("latency_us", "number"),
    [(0, 0), (999, 0), (1_000, 1), (1_702, 1), (1_703, 2), (599_999_999, 25), (600_000_000, 26)],
)
def test_an_edge_belongs_to_the_bin_above_it(latency_us: int, number: int) -> None:
    assert latency_bin(latency_us) == number


@given(st.integers(min_value=0, max_value=10**10))
def test_every_latency_lies_in_the_bin_that_it_is_counted_in(latency_us: int) -> None:
    assert latency_bin(latency_us) == bisect_right(BIN_EDGES_MS, latency_us / 1000)


@given(
    st.lists(st.integers(min_value=1_000, max_value=599_000_000), min_size=1, max_size=50),
    st.floats(min_value=0, max_value=1),
)
def test_a_percentile_is_wrong_by_a_factor_of_less_than_1_71(
    latencies_us: list[int], q: float
) -> None:
    rank = max(1, ceil(q * len(latencies_us)))
    exact_ms = sorted(latencies_us)[rank - 1] / 1000
    found = percentile(counted(latencies_us), q)
    assert found is not None
    assert exact_ms / ERROR_FACTOR < found < exact_ms * ERROR_FACTOR


@given(st.dictionaries(st.integers(0, 26), st.integers(0, 1000), max_size=27))
def test_percentiles_rise_with_their_share(counts: dict[int, int]) -> None:
    found = [percentile(counts, step / 20) for step in range(21)]
    if sum(counts.values()) == 0:
        assert found == [None] * 21
    else:
        assert found == sorted(found, key=lambda value: value or 0)


def test_no_calls_have_no_percentile_and_a_share_over_1_means_nothing() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({3: 0}, 0.5) is None
    with pytest.raises(ValueError, match="share"):
        percentile({3: 1}, 1.5)


def test_what_took_600_seconds_or_more_counts_as_600_seconds() -> None:
    assert percentile({26: 5}, 0.5) == 600_000.0


def minutes_of(spans: list[Span]) -> list[int]:
    return [
        minute
        for span in spans
        for bucket in range(span.start, span.stop, span.grain)
        for minute in range(bucket, bucket + span.grain, MINUTE)
    ]


@given(minutes, minutes, st.sampled_from(GRAINS))
def test_a_window_is_covered_once_and_wholly_by_stored_buckets(
    since: int, until: int, coarsest: int
) -> None:
    spans = cover(since * 60, until * 60, coarsest)
    assert minutes_of(spans) == list(range(since * 60, until * 60, MINUTE))
    assert all(span.start % span.grain == span.stop % span.grain == 0 for span in spans)
    assert all(span.grain <= coarsest for span in spans)


def test_a_month_needs_only_a_few_ranges_of_buckets() -> None:
    spans = cover(7 * MINUTE, 30 * DAY + 3 * HOUR + 5 * MINUTE)
    assert [span.grain for span in spans] == [MINUTE, HOUR, DAY, HOUR, MINUTE]
    assert spans[2] == Span(DAY, DAY, 30 * DAY)


@pytest.mark.parametrize(
    ("seconds", "grain"), [(HOUR, MINUTE), (DAY, HOUR), (7 * DAY, HOUR), (30 * DAY, DAY)]
)
def test_the_grain_suits_the_window(seconds: int, grain: int) -> None:
    assert choose_grain(seconds) == grain


@given(st.integers(0, 10**10), st.sampled_from(GRAINS))
def test_a_moment_lies_in_its_bucket(seconds: int, grain: int) -> None:
    assert bucket_of(seconds, grain) <= seconds < bucket_of(seconds, grain) + grain
    assert round_up(seconds, grain) in {
        bucket_of(seconds, grain),
        bucket_of(seconds, grain) + grain,
    }
    assert round_up(seconds, grain) >= seconds
