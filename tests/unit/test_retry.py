"""When a call is tried again: what counts against a key, and what retries may add."""

from __future__ import annotations

from typing import Any

import pytest

from aieye.gateway.retry import is_outage, rest_seconds


def test_a_refused_key_and_failures_of_the_provider_count_against_a_key_and_nothing_else() -> None:
    assert [status for status in range(400, 600) if is_outage(status)] == [401, *range(500, 600)]


@pytest.mark.parametrize(
    "status, asked, seconds",
    [(429, None, 5), (429, 2.5, 2.5), (429, 3600, 60), (403, None, 60), (401, 9, None),
     (500, 9, None), (409, 9, None)],
)  # fmt: skip
def test_a_limited_key_rests_as_long_as_it_is_asked_to_and_no_longer_than_a_minute(
    status: int, asked: float | None, seconds: float | None
) -> None:
    assert rest_seconds(status, asked) == seconds


@pytest.mark.parametrize(
    "error, counts",
    [
        ({"type": "server_error"}, True),
        ({"type": None, "code": "overloaded_error"}, True),
        ({"code": 502}, True),
        ({"code": 400}, False),
        ({"type": "invalid_request_error", "code": "invalid_prompt"}, False),
        ({"message": "Something."}, False),
        ({"type": ["server_error"]}, False),
    ],
)
def test_a_stream_that_begins_with_an_error_counts_where_the_error_is_the_providers(
    error: dict[str, Any], counts: bool
) -> None:
    assert is_outage(200, error) == counts
