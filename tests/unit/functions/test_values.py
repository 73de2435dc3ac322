"""What comes out of a function becomes JSON at once, or the step fails."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from aieye.functions.values import NotJson, copy_json, to_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=20,
)


@dataclass
class Point:
    x: int
    y: tuple[int, ...] = ()


class Model(BaseModel):
    name: str


@given(JSON)
def test_a_json_tree_stays_what_it_is(value: Any) -> None:
    assert repr(to_json(value)) == repr(value)
    assert repr(copy_json(value)) == repr(value)


def test_the_tree_shares_nothing_with_what_was_returned() -> None:
    inner: list[int] = []
    value = {"a": inner}
    for tree in (to_json(value), copy_json({"a": [*inner]})):
        inner.append(1)
        assert tree == {"a": []}


@pytest.mark.parametrize(
    "value, tree",
    [
        ((1, [2, (3,)]), [1, [2, [3]]]),
        (OrderedDict(a=1), {"a": 1}),
        (defaultdict(int, b=2), {"b": 2}),
        ({1: "one"}, {"1": "one"}),
        (Point(1, (2,)), {"x": 1, "y": [2]}),
        ([Model(name="ada")], [{"name": "ada"}]),
    ],
)
def test_what_has_one_obvious_form_becomes_it(value: Any, tree: Any) -> None:
    assert to_json(value) == tree


def _cycle() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def _deep() -> Any:
    value: Any = None
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        *({1}, b"x", object(), Decimal(1), print, Point),
        *(math.nan, math.inf, [-math.inf], {"a": {2}}),
        *(2**64, [-(2**63) - 1], 10**5_000, [10**5_000]),
        *("\ud800", ["\udfff"], {"\ud800": 1}),
        _cycle(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(NotJson):
        to_json(value)


def test_what_is_nested_too_deep_is_refused() -> None:
    value = _deep()
    with pytest.raises(NotJson, match="nested too deep"):
        to_json(value)
    while value:  # taken apart from outside, or Python would do it one level within another
        value = value[0]
