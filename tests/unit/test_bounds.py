"""What lies within a token's limits."""

from __future__ import annotations

from typing import Any

import pytest

from aieye.access.bounds import UNLIMITED, Bounds

LIMITED = Bounds(frozenset({"a", "b"}), "team", 3, 1_000)


@pytest.mark.parametrize("inner", [UNLIMITED, LIMITED])
def test_everything_lies_within_no_limits(inner: Bounds) -> None:
    assert not inner.beyond(UNLIMITED)


def test_no_limits_lie_beyond_each_limit() -> None:
    assert UNLIMITED.beyond(LIMITED) == LIMITED.limited()
    assert not LIMITED.beyond(LIMITED)


@pytest.mark.parametrize(
    ("values", "beyond"),
    [
        ((frozenset({"a"}), "team", 3, 999), set()),
        ((frozenset({"a", "c"}), "team", 3, 1_000), {"models"}),
        ((frozenset({"a"}), "other", 3, 1_000), {"cache_namespace"}),
        ((frozenset({"a"}), "team", 4, 1_001), {"provider_key_id", "expires_at"}),
        ((frozenset({"a"}), "team", 3, None), {"expires_at"}),
    ],
)
def test_each_limit_is_kept_to_by_itself(values: tuple[Any, ...], beyond: set[str]) -> None:
    assert Bounds(*values).beyond(LIMITED) == beyond


def test_a_limit_that_is_not_there_is_not_asked_for() -> None:
    assert not UNLIMITED.beyond(Bounds(models=None, expires_at=None))
    assert UNLIMITED.beyond(Bounds(models=frozenset({"a"}))) == {"models"}
