"""The examples of the language and of the original's documentation, as far as nothing runs."""

from __future__ import annotations

import pytest

from aieye.pipeline.language.parser import parse
from aieye.pipeline.language.printer import format_pipeline
from tests.unit.pipeline.pipelines import (
    arguments,
    bound,
    check,
    define,
    findings,
    prompt,
    syntax_error,
    tree,
)

P1 = prompt("p1", "a1")
BUILTIN_HI = define("builtin_hi(buddy)")


def test_section_nine_a_keyword_of_a_prompt() -> None:
    text = "prompt_buddy(buddy=buddy_arg)"
    assert tree(text) == "(call prompt_buddy (buddy= (name buddy_arg)))"
    assert arguments(text) == ["buddy_arg"]
    assert bound(text) == ("buddy",)


def test_section_nine_nested_calls_and_literals() -> None:
    text = "foo(bar(fred(1,2,3)))"
    assert arguments(text) == []
    assert check(text).is_valid
    assert format_pipeline(parse(text)) == "foo(bar(fred(1, 2, 3)))\n"


def test_section_nine_arguments_of_a_prompt_by_name() -> None:
    assert arguments("two(y, x)") == ["y", "x"]
    assert bound("two(y, x)") == ("y", "x")


def test_section_nine_a_misspelt_callee() -> None:
    (found,) = check("upper(\n  s=lenght(x))").diagnostics
    assert (found.code, found.line, found.column, found.length) == ("E201", 2, 5, 6)
    assert found.message.endswith("did you mean 'length'?")


def test_a_whole_pipeline_is_valid() -> None:
    text = """# a whole pipeline
param text: str;
param lang: str = "en";
let draft = summarise(text, lang=lang) @(timeout=30, retries=2);
upper(extract_title(draft).title)
"""
    analysis = check(
        text,
        summarise=prompt("summarise", "text", "lang"),
        extract_title=prompt("extract_title", "article"),
    )
    assert analysis.diagnostics == ()
    assert [parameter.name for parameter in analysis.arguments] == ["text", "lang"]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("prompt_buddy(buddy)", ["buddy"]),
        ("prompt_buddy(buddy=buddy_arg)", ["buddy_arg"]),
        ("prompt_buddy(dude)", ["dude"]),
        ("p1(p1(p1(arg)))", ["arg"]),
        ("p1(a1=p1(a1=p1(a1=arg)))", ["arg"]),
        ("builtin_hi(buddy)", ["buddy"]),
        ("builtin_hi(buddy=buddy_arg)", ["buddy_arg"]),
        ("builtin_hi(dude)", ["dude"]),
        ("foo(bar(fred(1,2,3)))", []),
    ],
)
def test_the_examples_of_the_original_are_valid(text: str, asked: list[str]) -> None:
    analysis = check(text, p1=P1, builtin_hi=BUILTIN_HI)
    assert analysis.diagnostics == ()
    assert [parameter.name for parameter in analysis.arguments] == asked


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("f(x) | g", "E107", "write g(f(x))"),
        ("f(x).g(y)", "E107", "write g(f(x), y)"),
        ("a.b(c)", "E107", "write g(f(x), y)"),
        ("12abc", "E004", None),
        ("007", "E004", None),
        ("1_000", "E004", None),
        ("1.", "E004", None),
        ("f(", "E102", None),
    ],
)
def test_the_refusals_that_the_language_names(text: str, code: str, hint: str | None) -> None:
    found = syntax_error(text)
    assert (found.code, found.hint) == (code, hint)


def test_contextual_keywords_are_names_elsewhere() -> None:
    assert tree("f(let, param)") == "(call f (name let) (name param))"


def test_mixed_arguments_get_the_hint_that_the_language_gives() -> None:
    (found,) = check('two(x, "a")').diagnostics
    assert (found.code, found.hint) == ("E305", "use keywords")
    assert findings("two(x=x, y='a')") == []
