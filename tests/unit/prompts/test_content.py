"""What a prompt may not say because no model would ever take it."""

from __future__ import annotations

from typing import Any

import pytest

from aieye.errors import Unprocessable
from aieye.prompts.content import Content, check_content


@pytest.mark.parametrize(
    ("said", "param", "reason"),
    [
        ({"params": {"temperatur": 1}}, "params", "did you mean `temperature`?"),
        ({"params": {"max_token": 1}}, "params", "did you mean `max_tokens`?"),
        ({"schema": {"type": "nope"}}, "schema", "`type` should be one of array, boolean"),
        ({"schema": {"type": []}}, "schema", "`type` should be one of"),
        ({"schema": {"type": {}}}, "schema", "`type` should be one of"),
        (
            {"schema": {"name": "n", "schema": {"type": "nope"}}},
            "schema",
            "`type` should be one of",
        ),
        ({"model": "pipeline/digest"}, "model", "Call the pipeline as a step"),
        ({"model": "preset/brief"}, "model", "Call the preset as a step"),
    ],
)
def test_what_could_never_be_asked_is_refused(said: Any, param: str, reason: str) -> None:
    with pytest.raises(Unprocessable) as refused:
        check_content(Content(**{"body": "Hey", "model": "m", **said}))
    assert (refused.value.param, reason in refused.value.message) == (param, True)


@pytest.mark.parametrize(
    "said",
    [
        {"params": {"top_k": 3, "min_p": 0.1, "max_new_tokens": 5, "num_ctx": 1, "temperature": 0}},
        {"schema": {"type": ["object", "null"]}},
        {"schema": {"anyOf": [{"type": "object"}]}},
        {"schema": {"name": "n", "schema": {"type": "object"}}},
        {"model": "together/big"},
    ],
)
def test_what_some_provider_may_know_is_not(said: Any) -> None:
    content = Content(**{"body": "Hey", "model": "m", **said})
    assert check_content(content) == content
