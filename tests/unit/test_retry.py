"""When a call is tried again: what counts against a key, and what retries may add."""

from __future__ import annotations

from typing import Any

import pytest

from aieye.gateway.retry import is_outage


def test_a_refused_key_and_failures_of_the_provider_count_against_a_key_and_nothing_else() -> None:
    assert [status for status in range(400, 600) if is_outage(status)] == [401, *range(500, 600)]


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
