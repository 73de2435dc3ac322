"""The numbers among a prompt's parameters have their bounds, whoever sends them."""

from __future__ import annotations

from typing import Any

import pytest

from aieye.errors import Unprocessable
from aieye.prompts.content import Content, check_content

TEMPERATURES: list[Any] = [-0.1, 2.1, "0.5", True, [], float("nan")]
MOST_TOKENS: list[Any] = [0, -1, 1.5, "7", 2**31, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("temperature", value) for value in TEMPERATURES),
        *(("max_tokens", value) for value in MOST_TOKENS),
    ],
)
def test_a_number_beyond_its_bounds_is_refused_by_its_name(name: str, value: Any) -> None:
    with pytest.raises(Unprocessable, match=name) as refused:
        check_content(Content("Hey", "gpt-4o", {name: value}))
    assert refused.value.param == f"params.{name}"


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0},
        {"temperature": 2.0},
        {"temperature": None},
        {"max_tokens": 1},
        {"top_p": 9},
    ],
)
def test_what_lies_within_them_and_what_has_none_is_kept(params: dict[str, Any]) -> None:
    content = Content("Hey", "gpt-4o", params)
    assert check_content(content) is content
