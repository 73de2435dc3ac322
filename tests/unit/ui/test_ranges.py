"""The time range in the URL, and links that keep the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aieye.errors import InvalidRequest
from aieye.ui.links import Here
from aieye.ui.ranges import RANGES, find_zone, read_range

NOW = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("name", RANGES)
def test_a_named_range_ends_now_and_is_compared_with_the_one_before(name: str) -> None:
    found = read_range({"range": name}, now=NOW)
    assert (found.until, found.since) == (NOW, NOW - RANGES[name][0])
    assert found.before == (NOW - 2 * RANGES[name][0], found.since)
    assert found.query == {"range": name}


def test_without_a_word_it_is_a_day() -> None:
    found = read_range({}, now=NOW)
    assert (found.label, found.query) == ("Last 24 hours", {})


def test_a_time_without_a_zone_is_one_where_the_person_is() -> None:
    params = {"since": "2026-11-20T12:00", "until": "2026-11-20T13:00"}
    found = read_range(params, now=NOW, zone=BERLIN)
    assert found.since == datetime(2026, 11, 20, 11, tzinfo=UTC)
    assert found.label == "2026-11-20 12:00 – 2026-11-20 13:00"
    assert read_range(params | {"tz": "utc"}, now=NOW, zone=BERLIN).since.hour == 12
    assert found.zone_name == "CET"


@pytest.mark.parametrize(
    "params",
    [
        {"range": "1y"},
        {"since": "yesterday"},
        {"since": "0001-01-01T00:00"},
        {"until": "2026-11-20T12:00"},
        {"since": "2026-11-20T12:00", "until": "2026-11-20T11:00"},
        {"since": "9999-12-31T23:59"},
    ],
)
def test_a_range_that_is_none_is_refused(params: Mapping[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        read_range(params, now=NOW, zone=BERLIN)


@given(st.dictionaries(st.sampled_from(["range", "since", "until", "tz"]), st.text(max_size=30)))
def test_nothing_in_a_url_breaks_a_range(params: dict[str, str]) -> None:
    try:
        found = read_range(params, now=NOW)
    except InvalidRequest:
        return
    assert found.since < found.until
    assert found.seconds == (found.until - found.since) / timedelta(seconds=1)


@pytest.mark.parametrize(
    "name", [None, "", "nowhere", "../../etc/passwd", "Europe", "/etc", "\0", "x" * 99]
)
def test_a_zone_that_nobody_knows_is_utc(name: str | None) -> None:
    assert find_zone(name) is UTC
    assert find_zone("Europe/Berlin") == BERLIN


def test_a_link_keeps_what_it_does_not_change_and_starts_the_list_anew() -> None:
    here = Here("/calls", (("range", "7d"), ("tag", "a"), ("tag", "b"), ("cursor", "x")))
    assert here(model="gpt 4") == "/calls?range=7d&tag=a&tag=b&model=gpt+4"
    assert here(range=None) == "/calls?tag=a&tag=b"
    assert here(tag=None, cursor="y") == "/calls?range=7d&cursor=y"
    assert here.without("tag", "a") == "/calls?range=7d&tag=b"
    assert here("/calls.csv", tag=["c"]) == "/calls.csv?range=7d&tag=c"
    assert here.others("tag") == [("range", "7d")]
    assert str(Here("/")) == "/"
