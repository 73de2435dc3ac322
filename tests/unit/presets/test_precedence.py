"""Who decides a field: each row of the table in docs/presets.md."""

from __future__ import annotations

from typing import Any

import pytest

from aieye.cache.key import Number
from aieye.presets.precedence import CALLERS, USUAL, LockedField, merge, overridable

PRESET = {"temperature": 0.5, "max_tokens": 100, "tools": [1], "user": "preset", "seed": None}


def merged(request: dict[str, Any], may: tuple[str, ...] = USUAL) -> dict[str, Any]:
    return merge(PRESET, request, may)


def test_what_only_one_of_them_says_is_said() -> None:
    found = merged({"logit_bias": {"1": 2}, "seed": 7})
    assert found == {
        "temperature": 0.5, "max_tokens": 100, "tools": [1], "user": "preset",
        "logit_bias": {"1": 2}, "seed": 7,
    }  # fmt: skip


@pytest.mark.parametrize("field", sorted(CALLERS))
def test_some_fields_are_always_the_callers(field: str) -> None:
    assert merge({field: "preset's"}, {field: "caller's"}, ())[field] == "caller's"


def test_what_may_be_overridden_is_the_callers_if_sent() -> None:
    assert merged({"temperature": 0})["temperature"] == 0
    assert merged({"temperature": None})["temperature"] == 0.5
    assert merged({})["temperature"] == 0.5


def test_the_rest_is_the_presets_and_asking_for_something_else_is_refused() -> None:
    with pytest.raises(LockedField) as refused:
        merged({"tools": [2]})
    assert (refused.value.status, refused.value.code, refused.value.param) == (
        400,
        "preset_field",
        "tools",
    )
    assert "'tools'" in refused.value.message
    assert "temperature" in refused.value.message
    assert merged({"tools": [1]})["tools"] == [1]
    assert merged({"tools": None})["tools"] == [1]


def test_an_author_says_what_may_be_overridden() -> None:
    assert overridable({}) == USUAL
    assert overridable({"overridable": None}) == USUAL
    assert overridable({"overridable": ["tools"]}) == ["tools"]
    assert merged({"tools": [2]}, ("tools",))["tools"] == [2]
    with pytest.raises(LockedField, match="not override anything"):
        merged({"temperature": 0}, ())


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_is_one_under_both_its_names(name: str) -> None:
    found = merged({name: 7})
    assert {key: found[key] for key in found if key.startswith("max_")} == {name: 7}
    with pytest.raises(LockedField):
        merged({name: 7}, ())
    assert merged({name: 100}, ())["max_tokens"] == 100


def test_numbers_are_the_same_however_they_are_written_and_true_is_none() -> None:
    assert merged({"temperature": Number("0.50")}, ())["temperature"] == 0.5
    with pytest.raises(LockedField):
        merge({"n": 1}, {"n": True}, ())
