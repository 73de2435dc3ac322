"""Section 3: which parameter an argument goes to, and who is told when there is none."""

from __future__ import annotations

import pytest

from tests.unit.pipeline.pipelines import bound, check, define, findings, prompt


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("fred(1, 2, 3)", ("a", "b", "c")),
        ("fred(1, c=2, b=3)", ("a", "c", "b")),
        ("fred(c=1, a=2, b=3)", ("c", "a", "b")),
        ("greet(x)", ("name",)),
        ("greet(x, y)", ("name", "greeting")),
        ("greet(greeting=x, name=y)", ("greeting", "name")),
        ("now()", ()),
        ("rewrite(x)", ("input",)),
        ("rewrite(input=x)", ("input",)),
        ("saved(x)", ("text",)),
        ("saved(x, lang=y)", ("text", "lang")),
        ("if(true, 1, 2)", ("condition", "then", "otherwise")),
        ("if(true, otherwise=1, then=2)", ("condition", "otherwise", "then")),
        ("try(x, 1)", ("value", "fallback")),
    ],
)
def test_positional_arguments_go_by_index_and_keywords_by_name(
    text: str, parameters: tuple[str, ...]
) -> None:
    assert bound(text) == parameters


def test_a_positional_behind_a_keyword_goes_by_its_own_index_and_is_warned_of() -> None:
    assert bound("fred(a=1, 2, 3)") == ("a", "b", "c")
    assert findings("fred(a=1, 2, c=3)") == [("W609", "2")]
    assert findings("fred(b=1, 2, 3)") == [("E304", "2"), ("W609", "2"), ("W609", "3")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fred()", [("E301", "fred")]),
        ("fred(1, c=2)", [("E301", "fred")]),
        ("greet()", [("E301", "greet")]),
        ("rewrite()", [("E301", "rewrite")]),
        ("saved(lang=1)", [("E301", "saved")]),
        ("prompt_buddy()", [("E301", "prompt_buddy")]),
        ("two(x)", [("E301", "two")]),
        ("if(true)", [("E301", "if")]),
        ("upper(x, y)", [("E302", "y")]),
        ("upper(x, f(y), z)", [("E201", "f"), ("E302", "f(y)")]),
        ("now(1)", [("E302", "1")]),
        ("motto(1)", [("E302", "1")]),
        ("rewrite(x, y)", [("E302", "y")]),
        ("saved(x, y, z)", [("E302", "z")]),
        ("prompt_buddy(x, 1)", [("E302", "1")]),
        ("two(1, 2, 3)", [("E302", "3")]),
        ("try(1, 2, 3)", [("E302", "3")]),
        ("upper(t=x)", [("E303", "t")]),
        ("upper(x, t=y)", [("E303", "t")]),
        ("fred(d=1, e=2)", [("E303", "d"), ("E303", "e")]),
        ("two(x=1, z=2)", [("E303", "z")]),
        ("reduce(two, x, 1, k=2)", [("E303", "k")]),
        ("upper(s=x, s=y)", [("E304", "s")]),
        ("fred(1, a=2)", [("E304", "a")]),
        ("fred(1, a=2, a=3)", [("E304", "a"), ("E304", "a")]),
        ("fred(b=1, length(x), c=1)", [("E304", "length(x)"), ("W609", "length(x)")]),
    ],
)
def test_an_argument_that_goes_nowhere_is_shown_where_it_stands(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert findings(text) == expected


def test_the_place_of_an_argument_given_twice_is_the_later_one() -> None:
    (found,) = check("upper(s=x, s=y)").diagnostics
    assert (found.offset, found.length) == (11, 1)


def test_one_missing_error_names_every_missing_argument() -> None:
    messages = [check(text).diagnostics[0].message for text in ("fred()", "fred(1)", "fred(1, 2)")]
    assert messages == [
        "'fred' is missing the arguments 'a', 'b' and 'c'",
        "'fred' is missing the arguments 'b' and 'c'",
        "'fred' is missing the argument 'c'",
    ]


def test_a_call_with_another_error_of_binding_is_not_told_what_is_missing() -> None:
    for text in ("fred(d=1)", "fred(a=1, a=2)", 'two(x, "a")', "two(z=1)"):
        assert "E301" not in {code for code, _ in findings(text)}


def test_an_unknown_keyword_is_compared_with_the_parameters() -> None:
    (found,) = check("greet(x, greetin=y)").diagnostics
    assert found.message == "'greet' has no parameter 'greetin'; did you mean 'greeting'?"


def test_a_keyword_is_a_keyword_whatever_functions_there_are() -> None:
    assert bound("plain(x=now())") == ("x",)
    assert findings("upper(now=1)") == [("E303", "now")]


def test_a_call_that_binds_nowhere_has_no_binding() -> None:
    assert bound("fred(1)") is None
    assert bound("lenght(x)") is None


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        # named like a variable: by name
        ("two(y, x)", ("y", "x")),
        ("two(x, y)", ("x", "y")),
        ("two(y, x=1)", ("y", "x")),
        ("three(z, y=1, x=2)", ("z", "y", "x")),
        ("param y; param x; two(y, x)", ("y", "x")),
        # none is: in order of first appearance
        ("two(a, b)", ("x", "y")),
        ("two(1, 2)", ("x", "y")),
        ("two(f, upper(s))", ("x", "y")),
        # in order, to the variables that no keyword names
        ("two(a, x=b)", ("y", "x")),
        ("three(a, y=b, c)", ("x", "y", "z")),
        # a let is no placeholder, whatever its name
        ("let y = 1; let x = 2; two(y, x)", ("x", "y")),
        # nor is a call or a part of a value
        ("two(upper(y), x.a)", ("x", "y")),
        # one variable takes any one argument
        ("prompt_buddy(buddy)", ("buddy",)),
        ("prompt_buddy(dude)", ("buddy",)),
        ("prompt_buddy(buddy=buddy_arg)", ("buddy",)),
        ("prompt_buddy(prompt_buddy(x))", ("buddy",)),
        ("motto()", ()),
    ],
)
def test_the_arguments_of_a_prompt_go_by_name_or_else_in_order(
    text: str, parameters: tuple[str, ...]
) -> None:
    callee = text[text.rindex(";") + 2 :].partition("(")[0] if ";" in text else None
    assert bound(text, callee) == parameters


@pytest.mark.parametrize(
    "text", ['two(x, "a")', "two(a, y)", "three(z, a, x=1)", "two(x, f(y), z)"]
)
def test_some_named_like_variables_and_some_not_are_ambiguous(text: str) -> None:
    found = next(found for found in check(text).diagnostics if found.code == "E305")
    assert (found.offset, found.length) == (0, text.index("("))
    assert found.hint == "use keywords"


def test_a_let_beside_a_placeholder_named_like_a_variable_is_ambiguous_too() -> None:
    assert findings("let y = 1; two(x, y)") == [("E305", "two")]


def test_with_one_variable_nothing_is_ambiguous() -> None:
    assert findings("prompt_buddy(buddy, dude)") == [("E302", "dude")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("two(x, x)", [("E304", "x")]),
        ("two(x, x=1)", [("E304", "x")]),
        ("two(x=1, x)", [("E304", "x"), ("W609", "x")]),
        ("prompt_buddy(1, buddy=2)", [("E302", "1")]),
        ("two(1, x=2, y=3)", [("E302", "1")]),
    ],
)
def test_a_variable_has_one_value(text: str, expected: list[tuple[str, str]]) -> None:
    assert findings(text) == expected


def test_a_callable_named_like_a_variable_is_no_placeholder() -> None:
    style = define("style()")
    assert findings("p(style, 1)", p=prompt("p", "style", "size"), style=style) == [
        ("W603", "style")
    ]


# --- map and reduce ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "callee", "parameters"),
    [
        ("map(upper, xs)", "upper", ("s",)),
        ("map(list=xs, f=upper)", "upper", ("s",)),
        ("map(fred, xs, b=1, c=2)", "fred", ("a", "b", "c")),
        ("map(two, xs, y=1)", "two", ("x", "y")),
        ("map(two, xs, x=1)", "two", ("y", "x")),
        ("map(prompt_buddy, xs)", "prompt_buddy", ("buddy",)),
        ("map(rewrite, xs)", "rewrite", ("input",)),
        ("map(saved, xs, lang='en')", "saved", ("text", "lang")),
        ("reduce(builtin_concat, xs, '')", "builtin_concat", ("x", "y")),
        ("reduce(two, xs, '')", "two", ("x", "y")),
        ("reduce(initial=1, list=xs, f=two)", "two", ("x", "y")),
        ("let upper = 1; map(upper, [upper])", "upper, [", ("s",)),
    ],
)
def test_what_map_and_reduce_call_gets_the_items_first(
    text: str, callee: str, parameters: tuple[str, ...]
) -> None:
    assert bound(text, callee) == parameters
    assert not [found for found in check(text).diagnostics if found.is_error]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("map(fred, xs)", [("E301", "fred")]),
        ("map(now, xs)", [("E302", "xs")]),
        ("map(upper, xs, t=1)", [("E303", "t")]),
        ("map(upper, xs, s=1)", [("E304", "s")]),
        ("map(two, xs, x=1, y=2)", [("E302", "xs")]),
        ("map(fred, xs, b=1, b=2, c=1)", [("E304", "b")]),
        ("map(bar, xs, 3)", [("E302", "3")]),
        ("map(upper)", [("E301", "map")]),
        ("map(uppr, xs)", [("E201", "uppr")]),
        ("map(if, xs)", [("E209", "if")]),
        ("map(map, xs)", [("E209", "map")]),
        ("map('upper', xs)", [("E401", "'upper'")]),
        ("map(f(x), xs)", [("E401", "f(x)")]),
        ("let f = 1; map(f, xs)", [("W601", "f"), ("E201", "f")]),
        ("map(upper, 1)", [("E401", "1")]),
        ("map(fred, xs, b=1, c=[])", [("E401", "[]")]),
        ("reduce(upper, xs, '')", [("E302", "xs")]),
        ("reduce(fred, xs, 0)", [("E301", "fred")]),
        ("reduce(two, xs)", [("E301", "reduce")]),
        ("reduce(prompt_buddy, xs, '')", [("E302", "xs")]),
    ],
)
def test_and_is_checked_like_any_call(text: str, expected: list[tuple[str, str]]) -> None:
    assert findings(text) == expected


def test_the_items_are_not_judged_as_the_list_that_they_come_in() -> None:
    assert findings("map(bar, [1, 2])") == []
    assert findings("reduce(fred, [1], 0)") == [("E301", "fred")]
    assert findings("reduce(merge, [1], [])", merge=define("merge(a: int; b: int)")) == []


def test_what_map_calls_never_calls_itself() -> None:
    assert findings("map(motto, xs)") == [("E302", "xs")]
    assert findings("map(length, [now])") == [("W603", "now")]


def test_an_option_among_the_arguments_is_told_its_place() -> None:
    (found,) = check("upper(x, retries=3)").diagnostics
    assert (found.code, found.hint) == (
        "E303",
        "options stand behind the arguments: upper(…) @(retries=…)",
    )
    assert check("upper(x, t=3)").diagnostics[0].hint is None
