"""The two decorators that the files of functions may use."""

from __future__ import annotations

from typing import Any

import pytest

from aieye.functions import function, infer
from aieye.functions.authoring import Options, options_of


def test_the_decorator_changes_nothing_but_how_a_function_runs() -> None:
    @function(isolate=False, timeout=2.5, cacheable=True)
    def f(x: int) -> int:
        return x + 1

    @function
    def plain() -> None: ...

    assert f(1) == 2
    assert options_of(f) == Options(isolate=False, timeout=2.5, cacheable=True)
    assert options_of(plain) == options_of(print) == Options()


def test_it_is_kept_below_another_decorator() -> None:
    @infer
    @function(inline=True)
    def f(x: Any) -> Any:
        return x

    assert options_of(f) == Options(inline=True)


def test_options_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(TypeError, match="exclude each other"):
        function(inline=True, isolate=True)
    for timeout in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout"):
            function(timeout=timeout)


@pytest.mark.parametrize(
    "text, value",
    [
        ("1", 1),
        (" 2.0 ", 2.0),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ('["a"]', ["a"]),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ("hello", "hello"),
        ("nan", "nan"),
        ("Infinity", "Infinity"),
        ("+5", 5.0),
        ("9" * 20, "9" * 20),
        ("1e999", "1e999"),
        ("", ""),
        ('{"a": ', '{"a": '),
    ],
)
async def test_infer_reads_text_that_looks_like_a_value(text: str, value: object) -> None:
    @infer
    def f(x: Any, *, y: Any = None) -> Any:
        return [x, y]

    @infer
    async def g(x: Any) -> Any:
        return x

    assert f(text, y=text) == [value, value]
    assert await g(text) == value


def test_infer_leaves_alone_what_is_no_text() -> None:
    @infer
    def f(x: Any) -> Any:
        return x

    for value in (1, None, ["1"], {"a": "1"}):
        assert f(value) == value
